"""Claims of the essay's section on attention: does it copy, does it denoise, can it be inverted?"""

SECTION = 'essay, "Representations in Unet generative models with Attention"'
STEPS = 800  # batches of 16 that a single attention is trained on
