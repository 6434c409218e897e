"""Learning to denoise from noisy images alone: the loss of pixels that the model does not see."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from copyfold.corruptions import uniform_like
from copyfold.errors import UsageError, at_least, one_of
from copyfold.measures import filled
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.objectives.fidelities import Fidelity, SquaredError
from copyfold.types import Diagnostics, Images, Int, Terms

Replacement: TypeAlias = Literal["uniform", "mean", "median"]


@dataclass(frozen=True)
class BlindSpot(Objective):
    r"""Learn to denoise from noisy images alone: predict masked pixels from those around them.

        L(x) = D / |M| sum_{i in M} -log p(x_i | D(z)_i)        x~_M ~ neighbours of M,  x~ = x elsewhere,  z = E(x~)

    M are `rate` of the pixels, at other places in every step; D / |M| makes the loss that of all D = c h w values.
    The model sees a value from the neighbourhood in their place, (2 radius + 1)^2 pixels without the centre (moved
    inwards at the edges), and never x_i itself. So it cannot learn noise that is independent from pixel to pixel:
    with x = s + n and SquaredError, E L = E ||D(z) - s||^2 / 2 + D std(n)^2 / 2, whose minimum is a denoiser. The
    noise must have mean 0 and be independent between pixels; `doubt` measures whether neighbours are correlated.
    The trained model is used as any other, on the noisy image.

    M is the same in all channels, because the noise of one pixel's channels is often one (demosaicing, JPEG).
    `replacement`: "uniform" is a random pixel of the neighbourhood; "mean" and "median" are of all of it. Masked
    pixels are no neighbours of each other, and missing ones, NaN, are never in M. The fidelity is a sum over pixels:
    SquaredError, AbsoluteError or Bernoulli. Term: "fidelity". Diagnostics: "mse", the squared error per masked
    pixel against the noisy image, which has the noise's variance in it, and "outside", as of Classical.

    Krull, Buchholz and Jug, "Noise2Void" (2019, arXiv:1811.10980), who draw from the neighbourhood with its centre;
    Batson and Royer, "Noise2Self" (2019, arXiv:1901.11365); the median: Hoeck et al., "N2V2" (2022,
    arXiv:2211.08512).
    """

    fidelity: Fidelity = field(default_factory=SquaredError)
    rate: float = 0.02
    radius: int = 2
    replacement: Replacement = "uniform"

    def __post_init__(self) -> None:
        if not isinstance(self.fidelity, Fidelity) or type(self.fidelity).pixels is Fidelity.pixels:
            raise UsageError(
                f"fidelity={self.fidelity!r} is invalid: expected a fidelity that is a sum over pixels, as "
                "SquaredError(), AbsoluteError() or Bernoulli(); missing pixels are left out of it anyway"
            )
        if not 0 < self.rate <= 1 / 2:
            raise UsageError(f"rate={self.rate} is invalid: expected a share of the pixels, above 0 and at most 0.5")
        at_least(1, radius=self.radius)
        one_of(Replacement, "replacement", self.replacement)

    def __call__(
        self, model: Autoencoder, x: Images, watch: Diagnostics | None = None, step: int | None = None
    ) -> Terms:
        """Mask, predict, and compare the masked pixels."""
        hidden, masked = self.hide(x)
        nats, image = self.fidelity.pixels(model, model.draw(hidden), filled(x))
        observed = ~x.isnan()
        counted = masked & observed
        share = counted.sum() / observed.sum().clamp(min=1)
        loss = torch.where(counted, nats, 0).sum() / (len(x) * share.clamp(min=1e-12))
        if watch is not None:
            image = image.detach()
            errors = torch.where(counted, (filled(x) - image).square(), 0)
            watch |= {"mse": errors.sum() / counted.sum().clamp(min=1)}
            watch |= {"outside": ((image < 0) | (image > 1)).float().mean()}
        return {"fidelity": loss}

    def hide(self, x: Images) -> tuple[Images, Tensor]:
        """What the model sees, x~, and M, b x 1 x h x w of booleans.

        x~ does not depend on the masked values of x. A masked pixel without any neighbour that is observed and not
        masked has the mean of the pixels that are.
        """
        height, width = x.shape[2:]
        blank = x.isnan().all(1, keepdim=True)
        count = max(1, round(self.rate * height * width))
        # The highest of random scores, those of missing pixels the lowest: exactly so many of every image
        places = uniform_like(x[:, :1]).masked_fill(blank, -1).flatten(1).topk(count).indices  # b, n
        masked = torch.zeros_like(blank).flatten(1).scatter(1, places, True).view_as(blank) & ~blank
        known = filled(x.masked_fill(masked, torch.nan))  # the mean of what is not masked

        # The pixels of each neighbourhood, b x c x n x k; the masked ones, the centre too, are not free to be taken
        around = self._around(places, height, width)
        b, n, k = around.shape
        free = ~(masked | blank).flatten(1).gather(1, around.flatten(1)).view(b, n, k)
        flat = known.flatten(2)
        values = flat.gather(2, around.view(b, 1, n * k).expand(-1, x.shape[1], -1)).view(b, -1, n, k)
        if self.replacement == "uniform":
            score = uniform_like(values[:, :1]).masked_fill(~free[:, None], -1)
            chosen = values.gather(3, score.argmax(3, keepdim=True).expand(-1, x.shape[1], -1, -1))[..., 0]
        else:
            usable = values.masked_fill(~free[:, None], torch.nan)
            chosen = usable.nanmean(3) if self.replacement == "mean" else usable.nanmedian(3).values
        at = places[:, None].expand(-1, x.shape[1], -1)
        taken = masked.flatten(2).gather(2, places[:, None]) & free.any(2)[:, None]
        flat = flat.scatter(2, at, torch.where(taken, chosen, flat.gather(2, at)))
        return torch.empty_like(x, requires_grad=False).copy_(flat.view_as(x)), masked

    def _around(self, places: Int[Tensor, "b n"], height: int, width: int) -> Int[Tensor, "b n k"]:
        """The positions of the window around each place, the place among them, all within the image."""
        rows = _window(places // width, self.radius, height)[..., :, None]
        columns = _window(places % width, self.radius, width)[..., None, :]
        return (rows * width + columns).flatten(2)

    def check(self, model: Autoencoder) -> None:
        """UsageError for images of one pixel, and where the fidelity has no meaning for the model."""
        if model.shape[1] * model.shape[2] == 1:
            raise UsageError("BlindSpot needs neighbours, and images of 1x1 have none: give larger images")
        self.fidelity.check(model)

    @property
    def leaves_out(self) -> bool:
        """Missing pixels are left out; the model sees the mean of the others there."""
        return True


def _window(centre: Int[Tensor, "b n"], radius: int, length: int) -> Int[Tensor, "b n w"]:
    """The positions of a window around every centre along an axis, moved inwards at the edges."""
    wide = min(2 * radius + 1, length)
    return (centre - radius).clamp(0, length - wide)[..., None] + torch.arange(wide, device=centre.device)
