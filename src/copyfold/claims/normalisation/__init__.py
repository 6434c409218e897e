"""Claims of the essay's section on batch normalisation: its effect on emergent denoising."""

from copyfold.corruptions import Corruption, Gaussian, Mix

SECTION = 'essay, "The Role of Batch Normalization in Denoising"'
KEEP = 0.5  # of the image, in the essay's mix
NOISES: dict[str, Corruption] = {"mix": Mix(KEEP), "gaussian": Gaussian(0.1)}  # both with noise of std 0.1
NOTHING = {"doing nothing": 1.0}  # the mark of a figure
