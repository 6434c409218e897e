"""Is a VAE's space of codes smoother than a plain autoencoder's?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes import COMPARISON
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.nearest import neighbours
from copyfold.samplers.interpolation import Interpolation, following
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import code_map, flat_codes, pca, purities, with_classes
from copyfold.studies.toolkit.notes import LATENT, fashion, plain_and_variational
from copyfold.types import Images

FRAMES = 11


@dataclass(frozen=True)
class SmootherCodes(Study):
    """A VAE's space of codes is smoother than a plain autoencoder's.

    The VAE and the deterministic autoencoder of T30 are compared. Purity is the share of the 10 nearest codes that
    have an image's class. A held-out image and the next are the ends of a straight line of codes; its middle is
    decoded, and its distance to the nearest training image is divided by that of the decoded ends: 1 where the
    middle is as near to real images as the ends. The second number is the VAE's ratio over the autoencoder's.

    Controls: pixels, whose purity needs no network; linear interpolation of pixels, whose middle shows both
    images; PCA, whose space is linear. Blur brings an image nearer to all others; therefore the distance is
    divided by that of the ends. "Unevenness" is the longest of ten steps of the decoded line over their mean: a
    jump makes it large.

    The maps are the codes' t-SNE, coloured by class. The strips go from one image to one of another class.
    """

    claim: ClassVar[str] = "T32-smooth"
    place: ClassVar[str] = f"{COMPARISON}: the latent space of an AE is typically not smooth; the interpolation"
    items: ClassVar[tuple[int, ...]] = (102, 137, 156)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Where codes are compared or interpolated, the divergence of a VAE helps.",
        PARTLY: "Smooth in one sense only: whether classes are separated and whether codes in between "
        "give images are two questions.",
        Verdict.DOES_NOT_HOLD: "A plain autoencoder's codes can be compared and interpolated as well as a VAE's.",
    }

    purity_vae_over_autoencoder: Above = Above(1.0)
    midpoint_vae_over_autoencoder: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Compare the classes of neighbours, and interpolate between images."""
        photos = fashion(lab, classes=True)
        x, (many, labels) = lab.images(photos), with_classes(lab, photos)
        everything = lab.images(photos, "train", len(photos))
        exact = pca(everything, LATENT)
        trained = lab.each(lambda seed: plain_and_variational(lab, photos, seed))
        models: dict[str, list[Autoencoder]] = {
            "autoencoder": [alone for alone, _ in trained],
            "VAE": [vae for _, vae in trained],
            "PCA": [exact] * len(trained),
        }
        pure = {name: [purities(flat_codes(m, many), labels) for m in of] for name, of in models.items()}
        ways = {name: [straight(m, x) for m in of] for name, of in models.items()}
        ways["fade of pixels"] = [faded(x)] * len(trained)
        far = {
            name: [[_far(way[n], everything) for way in of] for n in (0, FRAMES // 2)] for name, of in ways.items()
        }
        numbers = {
            "purity vae over autoencoder": statistics.ratio(pure["VAE"], pure["autoencoder"]),
            "midpoint vae over autoencoder": statistics.estimate(
                lambda end, mid, other, others: mid * other / (end * others), *far["VAE"], *far["autoencoder"]
            ),
            "purity, pixels": statistics.mean([purities(many.flatten(1), labels)] * len(trained)),
        }
        for name, of in ways.items():
            numbers[f"midpoint over ends, {name}"] = statistics.ratio(far[name][1], far[name][0])
            numbers[f"unevenness, {name}"] = statistics.mean([unevenness(way) for way in of])
        numbers |= {f"purity, {name}": statistics.mean(shares) for name, shares in pure.items()}
        figures = {
            f"map-{name.lower()}": code_map(lab, photos, models[name][0], many, labels, name)
            for name in ("autoencoder", "VAE")
        }
        other = int((labels != labels[0]).nonzero()[0]) if (labels != labels[0]).any() else 1
        ends = many[[0, other]]
        strips = {name: straight(of[0], ends)[:, 0] for name, of in models.items()}
        strips["fade of pixels"] = faded(ends)[:, 0]
        return Finding(numbers, {"strips": pictures.comparison(strips)} | figures)


def straight(model: Autoencoder, x: Images) -> Tensor:
    """The frames of the straight line of codes from each image to the next: frames b c h w."""
    return torch.stack(list(Interpolation(FRAMES)(model, x, torch.Generator())))


def faded(x: Images) -> Tensor:
    """Linear interpolation of pixels, without a model."""
    return torch.stack([torch.lerp(x, flat(following(x)).view_as(x), n / (FRAMES - 1)) for n in range(FRAMES)])


def unevenness(way: Tensor) -> Tensor:
    """The longest step over the mean step of every image's line; 1 where it does not move."""
    steps = way.diff(dim=0).flatten(2).norm(dim=2)
    return torch.where(steps.amax(0) > 0, steps.amax(0) / steps.mean(0).clamp(min=1e-12), 1.0)


def _far(x: Images, everything: Images) -> Tensor:
    """The distance of each image to the nearest training image."""
    return neighbours(x, everything)[0][:, 0]
