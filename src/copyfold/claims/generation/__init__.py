"""Of the essay's section on images from noise: what do repeated denoising and more compute do for them?"""

SECTION = 'essay, "Diffusion with no Diffusion"'
MEASURES = ("patch distance", "Frechet distance")
