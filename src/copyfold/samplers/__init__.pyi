# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.samplers.ascent import Ascent as Ascent
from copyfold.samplers.base import Sampler as Sampler
from copyfold.samplers.fitted import FittedGaussian as FittedGaussian
from copyfold.samplers.fitted import FittedMixture as FittedMixture
from copyfold.samplers.interpolation import Interpolation as Interpolation
from copyfold.samplers.interpolation import PixelInterpolation as PixelInterpolation
from copyfold.samplers.latent import Prior as Prior
from copyfold.samplers.renoising import Additive as Additive
from copyfold.samplers.renoising import Ramp as Ramp
from copyfold.samplers.renoising import Renoising as Renoising
from copyfold.samplers.renoising import Schedule as Schedule
from copyfold.samplers.traversal import Traversal as Traversal
from copyfold.samplers.walk import DirectedWalk as DirectedWalk
from copyfold.samplers.walk import Walk as Walk
