"""T19: do samples have a style of the network that made them?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.generation import SECTION
from copyfold.corruptions import Mix
from copyfold.data import Photos
from copyfold.errors import Diverged
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.samplers.renoising import Renoising
from copyfold.samplers.walk import Walk
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Copying, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import QUALITY, Lab
from copyfold.studies.toolkit import samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.networks import LARGE, restored, unet
from copyfold.studies.toolkit.samples import (
    BRIEF,
    COARSE,
    code_spread,
    essay_steps,
    film,
    from_noise,
    geometric_mean,
    last,
    mean,
)
from copyfold.studies.toolkit.training import copier
from copyfold.types import Float, Images

FRAMES = 31  # of each film
PLAIN, HIDDEN, HALF, SHORT = "plain", "hidden module", "half the width", "plain, briefly trained"
PAIRS = ((PLAIN, HALF), (SHORT, HIDDEN))
"""Networks that copy about as well."""
MADE = "made by "  # begins the names of images that are kept of every seed


@dataclass(frozen=True)
class StyleOfTheManifold(Study):
    r"""Samples have the style of the manifold that the network learned.

    U-Nets of depth 2 learn to copy the same photographs of 32 pixels, in two pairs that copy about as well: plain
    and at half the width, for 2,460 batches of 16; and with the essay's hidden module, as well as it can, and
    plain again, for 164 batches. Each makes walks with noise (300 steps, the noise as large against the spread of
    its code as 0.2 is against the plain network's), samples (30 steps) and denoised photographs (half noise), with
    the statistics of batches of 64. Style is measured by the distance of patches at all levels of a pyramid but
    the coarsest, which shows the layout, after the sharper of two sets was blurred to the sharpness of the other:
    networks that copy differently well blur differently, and that is no style. Two numbers decide:

    - "within over between networks": for each network, the distance of its walks and denoised photographs to its
      samples, over that of the other's of its pair to its samples; geometric means over kinds and networks. Below
      1: what a network makes in one way is nearer to what it makes in another than what another makes.
    - "change of style over that between seeds": the distance between the samples of the networks of a pair, over
      that between samples of one, both from different seeds, that is from different noise and trainings: where all
      have one style, it is 1. Networks of one pair are compared because any that copies worse is far from one that
      copies well, whatever its architecture. Above 1: the style is that of the architecture, and not of the chance
      of a training. This is the seed control, which decides now. Its interval is over the seeds, by the jackknife,
      as it is a mean over pairs of them; it needs three.

    Both thresholds are 1 because the claim is one of order, and 1 is what networks of one style have.

    The hidden module cannot leave 2 %: PCA of its 100 numbers leaves 6.3 %, and on 1,325 photographs it overfits,
    so that it is trained for 984 batches, after which it leaves about 8 %. It has to leave at most 12.7 %,
    as PCA of 32 components does: what leaves more only knows the coarse image; so has its plain partner. The plain
    network has to leave at most 3 %, that of half the width 4 %, as it has a quarter of the weights.

    Control: the samples of a network must be nearer to its walks and denoised photographs than photographs of the
    same sharpness are, or it is blur that they share. The number for the change of style in denoising (the essay's
    oil paint) is, for each network, the distance of denoised photographs to photographs that are as sharp; over
    blur it is that over the distance which so much blur makes: near 0 where denoising only blurs.

    What changed: the old study's networks left 13 % and more, it compared networks that copied differently well,
    its threshold of 1 was met by any two networks of different shape, with seeds of one network at .67 where
    networks had .63, and its verdict was HOLDS.

    In the first figure each block of three rows is a network; the second has the same of a network in colour, of
    cifar10, with films of its walk and of its images from noise in 200 steps.
    """

    claim: ClassVar[str] = "T19"
    place: ClassVar[str] = f"{SECTION}: the walk beside the samples, and the U-Net with a hidden MLP"
    items: ClassVar[tuple[int, ...]] = (117, 119, 120, 121, 147)
    data: ClassVar[tuple[str, ...]] = ("landscapes", "cifar10")
    asked: ClassVar[str] = (
        "Do the images that a network makes from noise look like those it makes by walking and by denoising, in a "
        "style that is that of its architecture?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "To change the look of samples, change the network: what a sampler makes has its style.",
        PARTLY: "Do not expect a look from an architecture: a network has a style, or architectures differ, but "
        "not both; train another seed before another architecture.",
        Verdict.DOES_NOT_HOLD: "To change the look of samples, change the sampler: it shapes them more than the "
        "network does.",
        Verdict.UNDECIDED: "Do not call a look the architecture's yet: seeds differ about as much, or the look is "
        "blur.",
        Verdict.NOT_IN_REGIME: "Ask again of networks that copy: what others share is blur. The hidden module "
        "needs more images, not more batches.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {
        PLAIN: Regime(0.03),
        HALF: Regime(0.04),
        SHORT: Regime(COARSE),
        HIDDEN: Regime(COARSE),
    }
    controls: ClassVar[Mapping[str, Control]] = {
        "samples to own images over to photographs as sharp": (Below(1.0), "What the images share is their blur.")
    }

    within_over_between_networks: Below = Below(1.0)
    change_of_style_over_that_between_seeds: Above = Above(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Make images in three ways with three networks, and compare them with all samples."""
        photos = lab.photos("landscapes")
        x = lab.images(photos, count=max(SHOWN, min(LARGE, lab.budget.measured)))
        colour = lab.photos("cifar10")

        def look(seed: int) -> Reading:
            models = networks(lab, seed)
            noise = samples.EPSILON / code_spread(models[PLAIN], x[:LARGE])
            made = {name: _made(lab, model, x, noise, seed) for name, model in models.items()}
            numbers = samples.kept(_numbers(made, x, lab, seed))
            for name, model in models.items():
                numbers |= copying(lab, name, model, photos) | {f"{MADE}{name}": _bytes(made[name]["samples"])}
            images = {f"{name}: {kind}": y[:SHOWN] for name, of in made.items() for kind, y in of.items()}
            if seed <= lab.first:
                images |= _films(lab, models[HIDDEN], "hidden", x[:LARGE], noise, seed)
                shown = _in_colour(lab, colour, seed)
                numbers |= shown.numbers
                images |= shown.images
            return Reading(numbers, images)

        found = lab.by_seed(look)
        numbers = samples.pooled(samples.read(found))
        names = [name for pair in PAIRS for name in pair]
        every = {name: [r.numbers[f"{MADE}{name}"].float() / 255 for r in found] for name in names}
        apart = log_distances(every, PAIRS, lab.rng(0, "patches"))
        changes = pseudo_values(style_changes(apart)).exp().tolist()
        numbers["change of style over that between seeds"] = statistics.over_seeds(changes, "log")
        for (a, b), logs in apart.items():
            name = f"style distance, {a} and {b}" if a != b else f"style distance, seeds of {a}"
            numbers[name] = statistics.over_seeds(pseudo_values(logs).exp().tolist(), "log")
        first = found[0].images
        blocks = {key: x for key, x in first.items() if key.split(":")[0] in every}
        colours = {key: x for key, x in first.items() if key.startswith("cifar10: ")}
        films = {
            key.removeprefix("film: ").replace(" ", "-"): iter(x.unflatten(0, (-1, SHOWN)))
            for key, x in first.items()
            if key.startswith("film: ")
        }
        return Finding(
            numbers,
            {"styles": pictures.comparison(blocks)}
            | ({"in-colour": pictures.comparison(colours)} if colours else {}),
            films,
            copying=_copying(found),
            came_out=self._said(numbers),
            captions={
                "styles": "What each of four networks makes by walking, from noise, and by denoising",
                "in-colour": "Photographs of cifar10, and what a network that copies them makes in the same ways",
            },
        )

    def _said(self, numbers: Mapping[str, Estimate]) -> str:
        within = numbers["within over between networks"].value
        change = numbers["change of style over that between seeds"].value
        seeds = (
            "fewer than three seeds say nothing of others"
            if math.isnan(change)
            else (
                f"samples of architectures that copy as well are {change:.2g} times as far apart as those of "
                "different seeds"
            )
        )
        return (
            f"What a network makes in other ways is {within:.2g} times as far from its samples as what another "
            f"makes that copies as well; {seeds}."
        )


def _copying(found: Sequence[Reading]) -> dict[str, Copying]:
    """How the networks copy; that in colour, of which there is one, as well."""
    every = [Reading({n: v for n, v in r.numbers.items() if n in found[-1].numbers}) for r in found]
    return qualities(found[:1]) | qualities(every)


def networks(lab: Lab, seed: int) -> dict[str, Autoencoder]:
    """The four, by name."""
    half = unet(lab, depth=2, width=lab.budget.width // 2)
    return {
        PLAIN: samples.plain(lab, seed),
        HALF: lab.trained(half, lab.photos("landscapes"), seed, **QUALITY),
        SHORT: samples.plain(lab, seed, BRIEF),
        HIDDEN: samples.hidden_copier(lab, seed),
    }


def _in_colour(lab: Lab, photos: Photos, seed: int) -> Reading:
    """What a network that copies cifar10 makes, which is shown only; empty where its training diverges."""
    x = lab.images(photos, count=LARGE)
    try:
        model = copier(lab, unet(lab, depth=2), photos, seed, 0.03)  # where half of the steps are enough
    except Diverged:
        return Reading({}, {})
    noise = samples.EPSILON / code_spread(model, x)
    made = {"photograph": x} | _made(lab, model, x, noise, seed)
    images = {f"cifar10: {kind}": y[:SHOWN] for kind, y in made.items()}
    return Reading(
        copying(lab, f"{PLAIN}, cifar10", model, photos), images | _films(lab, model, "cifar10", x, noise, seed)
    )


def _made(lab: Lab, model: Autoencoder, x: Images, noise: float, seed: int) -> dict[str, Images]:
    """The images of one network, made in each way; the noise of a walk in units of the code's spread."""
    walk = Walk(essay_steps(lab, 300), noise, relative=True)
    made = {
        "walk": last(film(walk, model, x, lab.rng(seed, "walk"), LARGE)),
        "samples": last(from_noise(lab, model, len(x), seed, batch=LARGE)),
        "denoised": restored(model, Mix()(x, lab.rng(seed, "mix")), LARGE),
    }
    return {kind: samples.as_shown(y) for kind, y in made.items()}


def _films(lab: Lab, model: Autoencoder, name: str, x: Images, noise: float, seed: int) -> dict[str, Images]:
    """Frames of a walk and of images from noise, one after the other."""
    walk, renoising = Walk(essay_steps(lab, 300), noise, relative=True), Renoising(essay_steps(lab, 200))
    walked = film(walk, model, x, lab.rng(seed, "walk"), LARGE)
    drawn = from_noise(lab, model, len(x), seed, renoising, LARGE)
    every = {f"{name} walk": (walked, walk.steps), f"{name} from noise": (drawn, renoising.steps)}
    return {
        f"film: {key}": torch.cat([y[:SHOWN] for y in pictures.sampled(of, pictures.evenly(steps, FRAMES))])
        for key, (of, steps) in every.items()
    }


def _numbers(made: Mapping[str, Mapping[str, Images]], x: Images, lab: Lab, seed: int) -> dict[str, float]:
    """The ratios of one seed: within over between, the control, and how denoising changes the style."""

    def distance(a: Images, b: Images) -> float:
        return style_distance(a, b, lab.rng(seed, "patches"))

    ratios = closeness(made, PAIRS, lab.rng(seed, "patches"))
    found = {f"within over between, {name}": value for name, value in ratios.items()}
    found["within over between networks"] = geometric_mean(ratios.values())
    own, others = [], []
    for name, of in made.items():
        change = distance(of["denoised"], x)
        blur = texture_distance(samples.blurred_to(x, of["denoised"]), x, lab.rng(seed, "patches"))
        found[f"change of style when denoising, {name}"] = change
        found[f"change of style when denoising over blur, {name}"] = change / blur
        own += [distance(of[kind], of["samples"]) for kind in of if kind != "samples"]
        others.append(distance(x, of["samples"]))
    found["samples to own images over to photographs as sharp"] = geometric_mean(own) / geometric_mean(others)
    return found


def texture_distance(a: Images, b: Images, rng: Generator) -> float:
    """Distance of patches at all levels but the coarsest, which shows the layout, where there are several.

    At least 1e-6, so that ratios exist where images are blank.
    """
    each = samples.levels(a, b, rng)
    return max(mean(each[:-1] or each), 1e-6)


def style_distance(a: Images, b: Images, rng: Generator) -> float:
    """The texture distance of two sets of which the sharper is blurred to the sharpness of the other."""
    return texture_distance(samples.blurred_to(a, b), samples.blurred_to(b, a), rng)


def log_distances(
    made: Mapping[str, Sequence[Images]], pairs: Sequence[tuple[str, str]], rng: Generator
) -> dict[tuple[str, str], Tensor]:
    """Logarithms of the style distances between samples of networks k, l and of seeds r != s: n x n each.

        M[k, l][r, s] = (log d(S[k, r], S[l, s]) + log d(S[l, r], S[k, s])) / 2        k <= l, symmetric in r, s

    S[k, s]: samples of network k and seed s; k and l are a pair, or one. The diagonal is 0 and means nothing:
    samples of one seed are from the same noise, and nearer for that. The positions of patches are the same for
    every pair.
    """
    state, count = rng.get_state(), len(next(iter(made.values())))

    def log_distance(a: Images, b: Images) -> float:
        return math.log(style_distance(a, b, rng.set_state(state)))

    found: dict[tuple[str, str], Tensor] = {}
    for one, other in [*pairs, *((name, name) for name in made)]:
        logs = torch.zeros(count, count, dtype=torch.float64)
        for r, s in combinations(range(count), 2):
            both = {(one, other), (other, one)}
            logs[r, s] = logs[s, r] = mean([log_distance(made[a][r], made[b][s]) for a, b in both])
        found[one, other] = logs
    return found


def style_changes(apart: Mapping[tuple[str, str], Tensor]) -> Tensor:
    """Of every two seeds, how far samples of different networks are apart, over those of one: the logarithm."""
    across, within = ([of for (a, b), of in apart.items() if (a == b) is same] for same in (False, True))
    return torch.stack(across).mean(0) - torch.stack(within).mean(0)


def pseudo_values(pairs: Float[Tensor, "n n"]) -> Float[Tensor, "n"]:
    r"""The jackknife's pseudo-values of a mean over pairs of seeds: n numbers, whose mean it is.

        P_s = n U - (n - 1) U_(-s) = (2 (n - 1) V_s - n U) / (n - 2)        V_s = mean_{r != s} L[r, s]

    U is the mean of all pairs, U_(-s) that of the pairs without s.

    Pairs that share a seed are not independent, so that the interval of the V_s would be narrower by the factor
    2 (n - 1) / (n - 2): 2.7 for 5 seeds. NaN for fewer than three. Arvesen, "Jackknifing U-statistics" (1969).
    """
    n = len(pairs)
    if n < 3:
        return pairs.new_full((n,), torch.nan)
    each = (pairs.sum(1) - pairs.diagonal()) / (n - 1)
    return (2 * (n - 1) * each - n * each.mean()) / (n - 2)


def closeness(
    made: Mapping[str, Mapping[str, Images]], pairs: Sequence[tuple[str, str]], rng: Generator
) -> dict[str, float]:
    """Style distance of a network's other images to its samples, over that of its partner's images.

    One number for each network, of its images by kind. The positions of patches are the same for every pair.
    """
    state, partner = rng.get_state(), dict(pairs) | {b: a for a, b in pairs}

    def distance(a: Images, b: Images) -> float:
        return style_distance(a, b, rng.set_state(state))

    found: dict[str, float] = {}
    for name, own in made.items():
        inner, across = (
            geometric_mean(distance(y, own["samples"]) for kind, y in of.items() if kind != "samples")
            for of in (own, made[partner[name]])
        )
        found[name] = inner / across
    return found


def _bytes(x: Images) -> Tensor:
    """Images of [0, 1] as 8 bits, to be kept as numbers of every seed."""
    return (x.detach().cpu() * 255).round().to(torch.uint8)
