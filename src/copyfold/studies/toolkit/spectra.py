"""The singular values of a whole Jacobian, in float64."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.models.base import Autoencoder
from copyfold.probes.base import still
from copyfold.probes.geometry import jacobian
from copyfold.types import Images

SIDE = 8  # of the images whose whole Jacobian is taken: 192 x 192 in colour; a quarter of the measured ones are


@torch.no_grad()
def spectrum(model: Autoencoder, x: Images) -> Tensor:
    """All singular values of the model's Jacobian at each image, b x D, the largest first, in float64."""
    exact, size = deepcopy(model).double(), x[0].numel()
    every = torch.eye(size, dtype=torch.float64, device=x.device).view(size, 1, *x.shape[1:])
    with still(exact), sdpa_kernel(SDPBackend.MATH):  # fused kernels have no derivative of this kind
        pull = jacobian(exact, x.double())[1]
        rows = torch.stack([pull(e.expand(len(x), -1, -1, -1)) for e in every], dim=1)
    return torch.linalg.svdvals(rows.flatten(2)).cpu()


def full_rank(s: Tensor) -> Tensor:
    """1 where no singular value is 0 up to rounding, as numpy's matrix_rank has it; else 0."""
    return (s[:, -1] > s.shape[1] * torch.finfo(s.dtype).eps * s[:, 0]).double()


def log_condition(s: Tensor) -> Tensor:
    """log10 of the largest singular value over the smallest; at most what float64 can tell, 15.7."""
    return (s[:, 0] / s[:, -1].clamp(min=1e-300)).clamp(max=1 / torch.finfo(s.dtype).eps).log10()
