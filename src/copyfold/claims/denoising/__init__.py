"""Of the essay's section on emergent denoising: which networks remove noise, trained only to copy?"""

SECTION = 'essay, "Autoencoders are capable of denoising without being trained to do so"'
