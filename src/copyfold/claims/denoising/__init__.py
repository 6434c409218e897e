"""Claims of the essay's section on emergent denoising: which networks, trained only to copy, remove noise?"""

SECTION = 'essay, "Autoencoders are capable of denoising without being trained to do so"'
