"""Of the essay's section on attention: what does it copy, what does it denoise, can it be inverted?"""

SECTION = 'essay, "Representations in Unet generative models with Attention"'
STEPS = 800  # batches of 16 that a single attention learns from
