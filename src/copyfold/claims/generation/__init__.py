"""Claims of the essay's section on images from noise: the effect of repeated denoising and of more compute."""

SECTION = 'essay, "Diffusion with no Diffusion"'
MEASURES = ("patch distance", "Frechet distance")
