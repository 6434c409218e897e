"""Learning to denoise from noisy images alone: the loss of pixels that the model does not see."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from copyfold.corruptions import uniform_like
from copyfold.errors import UsageError, at_least, one_of, option, within
from copyfold.measures import filled, noise_correlation, spread
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.objectives.fidelities import Fidelity, SquaredError
from copyfold.types import Diagnostics, Float, Images, Int, Terms

Replacement: TypeAlias = Literal["median", "mean", "uniform"]

HARDLY = 0.02
"""Of the images' std: the flattest parts of BSD68's photographs without noise have .016."""

CORRELATED = 0.1
"""White noise on the photographs of BSD68 is measured at up to .04, at std 2 at .08."""

FEW = 10
"""Standard errors more: of few blocks, as of a single photograph of 180x180, the flattest may have texture too."""


@dataclass(frozen=True)
class BlindSpot(Objective):
    r"""Denoising from noisy images alone: predict masked pixels from their neighbours.

        L(x) = D / |M| sum_{i in M} -log p(x_i | D(z)_i)        z = E(x~),   x~_M from the neighbours, else x~ = x

    M are `rate` of the pixels, others in every step; D / |M| makes the loss that of all D = c h w values. In their
    place the model sees a value from the neighbourhood, (2 radius + 1)^2 pixels without the centre (moved inwards
    at the edges), and never x_i itself. So it cannot learn noise that is independent from pixel to pixel: with
    x = s + n and SquaredError, E L = E ||D(z) - s||^2 / 2 + D std(n)^2 / 2, whose minimum is a denoiser. The noise
    must have mean 0 and be independent between pixels; `doubt` measures whether neighbours are correlated. The
    trained model is used as any other, on the noisy image.

    M is the same in all channels, because the noise of a pixel's channels is often shared (demosaicing, JPEG).
    `replacement`: "median" and "mean" are of all the neighbourhood, "uniform" is a random pixel of it. Masked
    pixels are no neighbours of each other, and missing ones, NaN, are never in M. The fidelity is a sum over
    pixels: SquaredError, AbsoluteError or Bernoulli. Term: "fidelity". Diagnostics: "mse", the squared error per
    masked pixel against the noisy image, which includes the variance of the noise, and "outside", as of Classical.

    Krull, Buchholz and Jug, "Noise2Void" (2019, arXiv:1811.10980), who draw from the neighbourhood with its
    centre; Batson and Royer, "Noise2Self" (2019, arXiv:1901.11365); the median is that of Hoeck et al., "N2V2"
    (2022, arXiv:2211.08512). benchmarks/noisy_only.py measures it.

    When: To denoise where there are no clean images, as in microscopy.
    Cost: A step as `Classical`, but only `rate` of the pixels teach: plan for several times the steps.
    Fails: Noise that is correlated between pixels (JPEG, demosaicing, scaling) is learned as if it were image.
    Source: Krull, Buchholz and Jug, 2019; Batson and Royer, 2019.
    """

    fidelity: Fidelity = field(default_factory=SquaredError)
    rate: float = 0.05
    radius: int = 2
    replacement: Replacement = "median"

    def __post_init__(self) -> None:
        if not isinstance(self.fidelity, Fidelity) or type(self.fidelity).pixels is Fidelity.pixels:
            raise UsageError(
                f"fidelity={self.fidelity!r} is invalid: expected a fidelity that is a sum over pixels, as "
                "SquaredError(), AbsoluteError() or Bernoulli(); missing pixels are left out of it anyway"
            )
        within("(0, 0.5]", self, rate=self.rate)
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

        # The pixels of each neighbourhood, b x c x n x k; masked ones, among them the centre, are not free
        around = self._around(places, height, width)
        b, n, k = around.shape
        free = ~(masked | blank).flatten(1).gather(1, around.flatten(1)).view(b, n, k)
        flat = known.flatten(2)
        values = flat.gather(2, around.view(b, 1, n * k).expand(-1, x.shape[1], -1)).view(b, -1, n, k)
        if self.replacement == "uniform":
            score = uniform_like(values[:, :1]).masked_fill(~free[:, None], -1)
            chosen = values.gather(3, score.argmax(3, keepdim=True).expand(-1, x.shape[1], -1, -1))[..., 0]
        else:
            chosen = _middle(self.replacement, values, free[:, None].expand_as(values))
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

    def doubt(self, x: Images) -> str | None:
        """Whether noise is measured in the images at all, and whether it is correlated between neighbours."""
        std, correlation, error = noise_correlation(x)
        own = spread(filled(x))[1]
        if std < HARDLY * own:
            return (
                f"hardly any noise is measured in the images: its std is {std:.2g}, theirs {own:.2g}; "
                "BlindSpot learns from noisy images, and would only blur these"
            )
        largest = int(correlation.abs().argmax())
        if not correlation[largest].abs() > CORRELATED + FEW * error:  # nor NaN, of small images
            return None
        where = ("horizontally", "vertically", "diagonally", "diagonally")[largest]
        return (
            f"the noise of neighbouring pixels is correlated, by {correlation[largest]:.2f} {where}: BlindSpot "
            "takes what neighbours predict for image, and will leave much of this noise; give images as they were "
            f"recorded, before JPEG, demosaicing or resizing ({option('crop')} in place of {option('size')})"
        )

    @property
    def leaves_out(self) -> bool:
        """Missing pixels are left out; the model sees the mean of the others there."""
        return True


def _window(centre: Int[Tensor, "b n"], radius: int, length: int) -> Int[Tensor, "b n w"]:
    """The positions of a window around every centre along an axis, moved inwards at the edges."""
    wide = min(2 * radius + 1, length)
    return (centre - radius).clamp(0, length - wide)[..., None] + torch.arange(wide, device=centre.device)


def _middle(kind: Replacement, values: Float[Tensor, "b c n k"], free: Tensor) -> Float[Tensor, "b c n"]:
    """The mean of the values that are free, or their median: of an even number the lower of the two."""
    usable, count = values.masked_fill(~free, torch.nan), free.sum(3, keepdim=True)
    if kind == "mean":
        return usable.nansum(3) / count[..., 0].clamp(min=1)
    order = usable.sort(3).values  # NaN last; torch.median has no deterministic form on a GPU
    return order.gather(3, (count - 1).clamp(min=0) // 2)[..., 0]
