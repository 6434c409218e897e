# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.probes.base import Probe as Probe
from copyfold.probes.base import Reading as Reading
from copyfold.probes.base import layers as layers
from copyfold.probes.denoising import Denoising as Denoising
from copyfold.probes.eigenbasis import Eigenbasis as Eigenbasis
from copyfold.probes.evidence import Evidence as Evidence
from copyfold.probes.geometry import IdentityGap as IdentityGap
from copyfold.probes.geometry import SpectralNorm as SpectralNorm
from copyfold.probes.inversion import Inversion as Inversion
from copyfold.probes.latent import CodeStatistics as CodeStatistics
from copyfold.probes.latent import Latent as Latent
from copyfold.probes.nearest import Nearest as Nearest
from copyfold.probes.quality import Quality as Quality
from copyfold.probes.stability import Stability as Stability
