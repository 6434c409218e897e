"""The notes' comparison of variational and deterministic autoencoders: blur, samples, smoothness."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes.linear_is_pca import (
    CROSS_ENTROPY,
    LONG,
    SHORT,
    SHOWN,
    classed,
    coded,
    contestants,
    fashion,
    learned,
    mapped,
    output,
    pca,
    purities,
)
from copyfold.data import Photos
from copyfold.measures import mse, sharpness
from copyfold.models.base import Autoencoder, flat
from copyfold.models.dense import MLP
from copyfold.models.outline import outline
from copyfold.models.variational import Variational
from copyfold.objectives.base import Classical
from copyfold.objectives.fidelities import Bernoulli
from copyfold.objectives.penalties import Divergence
from copyfold.probes.latent import CodeStatistics
from copyfold.probes.nearest import neighbours
from copyfold.probes.quality import density_and_coverage, frechet_distance
from copyfold.samplers.base import Sampler
from copyfold.samplers.fitted import FittedGaussian, FittedMixture
from copyfold.samplers.interpolation import Interpolation, following
from copyfold.samplers.latent import Prior
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.types import Images, Shape

COMPARISON = 'notes on Murphy, "20.3.5.3 Comparison of VAEs and autoencoders"'
LATENT = 20  # numbers of a code, as in the notes' VAE
FRAMES = 11

ELBO = Classical(fidelity=Bernoulli(), penalties=[Divergence()])


def plain(shape: Shape) -> MLP:
    """A deterministic autoencoder that is `variational` without its distribution: the same layers, one code."""
    return MLP(shape, [512], LATENT, output="sigmoid")


def variational(shape: Shape) -> Variational:
    """A VAE: its core's last layer, linear, gives the numbers that mean and variance are linear in."""
    return Variational(MLP(shape, [512], 2 * LATENT, output="sigmoid"), LATENT)


def both(lab: Lab, photos: Photos, seed: int) -> tuple[Autoencoder, Autoencoder]:
    """The deterministic autoencoder and the VAE of one seed, trained alike."""
    alone = learned(lab, plain, photos, seed, LONG, CROSS_ENTROPY)
    return alone, learned(lab, variational, photos, seed, LONG, ELBO)


@dataclass(frozen=True)
class OnlyVariationalSamples(Study):
    """A VAE is blurrier than a plain autoencoder, but only it can make images.

    A VAE with 20 latent dimensions and the deterministic autoencoder of the same layers and code learn
    Fashion-MNIST by the cross-entropy, the VAE with its divergence. Sharpness, the energy of the Laplacian, is of
    held-out reconstructions. Codes drawn from N(0, I) are decoded by both. The distance of samples is
    the Frechet distance between them and real images, of the codes that a judge gives both, the notes' CNN.

    Controls: the deterministic autoencoder with codes drawn as its codes lie, from a normal distribution or a
    mixture of ten (Ghosh et al., 2020), of which the mixture decides whether it "can't create new samples"; a
    normal distribution in the space of PCA, which makes ghosts and must be far; other real images, the floor.

    In the pictures of reconstructions and of samples a row is a model or a way to draw. The diagram is the VAE's.
    """

    claim: ClassVar[str] = "T30"
    place: ClassVar[str] = f"{COMPARISON}; blurriness: the essay's introduction"
    items: ClassVar[tuple[int, ...]] = (135, 136, 156)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "To generate, take a VAE and pay with blur; a plain autoencoder's codes cannot be drawn.",
        Verdict.MIXED: "Look which part failed: where it is the mixture, a plain autoencoder generates once its "
        "codes are drawn as they lie, and N(0, I) was never a fair test of it.",
        Verdict.FAILS: "The VAE is neither blurrier nor better at sampling: its divergence buys nothing here.",
    }

    sharpness_vae_over_autoencoder: Below = Below(1.0)
    sample_distance_vae_over_autoencoder: Below = Below(0.5)
    sample_distance_vae_over_mixture_of_codes: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Reconstruct, sample, and compare with real images."""
        photos, count = fashion(lab), 8 * lab.budget.measured
        x, held_out, seen = lab.images(photos), *(lab.images(photos, w, count) for w in ("held_out", "train"))
        exact = pca(lab.images(photos, "train", len(photos)), LATENT)
        cnn = contestants(photos.shape)[1]

        def train(seed: int) -> tuple[int, Autoencoder, Autoencoder, Autoencoder]:
            return seed, *both(lab, photos, seed), learned(lab, cnn, photos, seed, SHORT, CROSS_ENTROPY)

        models = lab.each(train)
        made = [
            {"real images": held_out}
            | {
                name: next(iter(sampler(model, torch.zeros_like(held_out), lab.rng(seed, name))))
                for name, (sampler, model) in ways(alone, vae, exact, seen).items()
            }
            for seed, alone, vae, _ in models
        ]
        judges = [judge for *_, judge in models]
        read = {
            name: [judged(judge, of[name], seen) for judge, of in zip(judges, made, strict=True)]
            for name in made[0]
        }
        far = {name: [distance for distance, _ in each] for name, each in read.items()}
        numbers = self._reconstructions([pair for _, *pair, _ in models], x) | {
            "sample distance vae over autoencoder": statistics.ratio_over_seeds(far["VAE"], far["autoencoder"]),
            "sample distance vae over mixture of codes": statistics.ratio_over_seeds(
                far["VAE"], far["autoencoder, mixture of codes"]
            ),
        }
        for name, each in read.items():
            numbers |= {
                f"sample distance, {name}": statistics.over_seeds(far[name]),
                f"coverage, {name}": statistics.over_seeds([coverage for _, coverage in each]),
                f"sharpness over photographs, {name}": statistics.ratio(
                    [sharpness(of[name]) for of in made], [sharpness(held_out)] * len(made)
                ),
            }
        _, alone, vae, _ = models[0]
        copies = {"clean": x[:SHOWN], "autoencoder": output(alone, x[:SHOWN]), "VAE": output(vae, x[:SHOWN])}
        sharp = {name: f"sharpness {sharpness(images).mean():.3f}" for name, images in copies.items()}
        captions = {name: f"distance {numbers[f'sample distance, {name}'].value:.2f}" for name in read}
        figures = {
            "reconstructions": pictures.comparison(copies, sharp),
            "samples": pictures.comparison({name: images[:SHOWN] for name, images in made[0].items()}, captions),
            "vae": pictures.diagram(outline(vae), "The VAE", str(vae.summary())),
        }
        return Finding(numbers, figures)

    def _reconstructions(self, models: list[list[Autoencoder]], x: Images) -> dict[str, Estimate]:
        """Sharpness and error of held-out images, and how many of the dimensions the VAE uses."""
        alone, vae = ([output(model, x) for model in of] for of in zip(*models, strict=True))
        real = [sharpness(x)] * len(models)
        sharp_alone, sharp_vae = ([sharpness(y) for y in of] for of in (alone, vae))
        active = [CodeStatistics()(m, x, torch.Generator()).numbers["active_units"].item() for _, m in models]
        return {
            "sharpness vae over autoencoder": statistics.ratio(sharp_vae, sharp_alone),
            "sharpness over photographs, reconstruction, VAE": statistics.ratio(sharp_vae, real),
            "sharpness over photographs, reconstruction, autoencoder": statistics.ratio(sharp_alone, real),
            "error vae over autoencoder": statistics.ratio([mse(y, x) for y in vae], [mse(y, x) for y in alone]),
            "active dimensions, VAE": statistics.over_seeds(active),
        }


def ways(
    alone: Autoencoder, vae: Autoencoder, exact: Autoencoder, seen: Images
) -> dict[str, tuple[Sampler, Autoencoder]]:
    """How codes are drawn, and for which model."""
    normal, mixture = FittedGaussian(reference=seen), FittedMixture(reference=seen)
    return {
        "VAE": (Prior(), vae),
        "autoencoder": (Prior(), alone),
        "autoencoder, normal codes": (normal, alone),
        "autoencoder, mixture of codes": (mixture, alone),
        "VAE, mixture of codes": (mixture, vae),
        "PCA, normal codes": (normal, exact),
    }


def judged(judge: Autoencoder, images: Images, real: Images) -> tuple[float, float]:
    """In the judge's codes: Frechet distance, 1 for copies of the mean, and the share of real ones covered."""
    a, b = (coded(judge, part) for part in (images, real))
    covered = density_and_coverage(a, b, min(5, len(b) - 1))[1]
    return float(frechet_distance(a, b) / b.double().var(0).sum()), float(covered)


@dataclass(frozen=True)
class SmootherCodes(Study):
    """A VAE's space of codes is smoother than a plain autoencoder's.

    The VAE and the deterministic autoencoder of T30. Purity is the share of the 10 nearest codes that have an
    image's class. A held-out image and the next are the ends of a straight line of codes; its middle is decoded,
    and its distance to the nearest training image stands over that of the decoded ends: 1 where the way stays
    among images as its ends do. The second number is the VAE's over the autoencoder's.

    Controls: pixels, whose purity needs no network; the fade from one image to the next in pixels, whose middle
    shows both; PCA, whose space is as smooth as can be. Blur brings an image nearer to all others, hence the ends.
    "Unevenness" is the longest of ten steps of the decoded line over their mean: a jump makes it large.

    The maps are the codes' t-SNE, coloured by class. The strips go from one image to another of another class.
    """

    claim: ClassVar[str] = "T32-smooth"
    place: ClassVar[str] = f"{COMPARISON}: the latent space of an AE is typically not smooth; the interpolation"
    items: ClassVar[tuple[int, ...]] = (102, 137, 156)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Where codes are to be compared or mixed, the divergence of a VAE pays.",
        Verdict.MIXED: "Smooth in one sense only: whether classes lie apart and whether what lies between is an "
        "image are two questions.",
        Verdict.FAILS: "A plain autoencoder's codes can be compared and mixed as well as a VAE's.",
    }

    purity_vae_over_autoencoder: Above = Above(1.0)
    midpoint_vae_over_autoencoder: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Ask neighbours, and go from image to image."""
        photos = fashion(lab, classes=True)
        x, (many, labels) = lab.images(photos), classed(lab, photos)
        everything = lab.images(photos, "train", len(photos))
        exact = pca(everything, LATENT)
        trained = lab.each(lambda seed: both(lab, photos, seed))
        models: dict[str, list[Autoencoder]] = {
            "autoencoder": [alone for alone, _ in trained],
            "VAE": [vae for _, vae in trained],
            "PCA": [exact] * len(trained),
        }
        pure = {name: [purities(coded(m, many), labels) for m in of] for name, of in models.items()}
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
            f"map-{name.lower()}": mapped(lab, photos, models[name][0], many, labels, name)
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
    """The same line in pixels, without any model."""
    return torch.stack([torch.lerp(x, flat(following(x)).view_as(x), n / (FRAMES - 1)) for n in range(FRAMES)])


def unevenness(way: Tensor) -> Tensor:
    """The longest step over the mean step, of every image's way; 1 where it goes nowhere."""
    steps = way.diff(dim=0).flatten(2).norm(dim=2)
    return torch.where(steps.amax(0) > 0, steps.amax(0) / steps.mean(0).clamp(min=1e-12), 1.0)


def _far(x: Images, everything: Images) -> Tensor:
    """How far each image is from the nearest of the training images."""
    return neighbours(x, everything)[0][:, 0]
