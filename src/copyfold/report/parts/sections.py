"""The sections of the page, each one question asked of the subject."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from copyfold import pictures
from copyfold.corruptions import Corruption, Gaussian, Masking, Mix
from copyfold.data.sampling import MAPPED, SHOWN, stratified
from copyfold.measures import mse, psnr, spread
from copyfold.probes.base import Reading, layers
from copyfold.probes.denoising import Denoising, best_baseline
from copyfold.probes.geometry import IdentityGap
from copyfold.probes.inversion import Inversion
from copyfold.probes.latent import CodeStatistics, Latent
from copyfold.probes.nearest import Nearest
from copyfold.probes.quality import Quality
from copyfold.probes.stability import Stability
from copyfold.report.illustration import loss_curve
from copyfold.report.parts.commands import command
from copyfold.report.parts.subject import Part, Plate, Section, Subject
from copyfold.samplers.base import Sampler
from copyfold.samplers.latent import Prior
from copyfold.samplers.renoising import Renoising
from copyfold.samplers.walk import Walk
from copyfold.types import Images, Statistics

FEW, SOME = 16, 32  # images for what takes long
STDS = (0.05, 0.1, 0.2, 0.4, 0.8)
ALIKE = 0.2  # of the spread of photos, under which images are all but the same
EXACT = 90  # dB, from which on an image is found to the precision of its numbers
NUMBERS_OF_CODES = 60_000_000  # that may be in memory together


def training(subject: Subject) -> Section:
    """How the error fell."""
    if subject.run is None or not subject.run.history:
        return Section("Training", "How this model was trained is not known here.")
    caption = (
        "How to read it: the squared error per pixel of what the training saw, corrupted where it corrupts. A "
        "held-out curve that rises while the other falls means that images are learned by heart."
    )
    again = f"copyfold train --config {subject.run.folder}/recipe.yaml"
    return Section("Training", "", (Plate(loss_curve(subject.run, title=""), caption, again),))


@torch.no_grad()
def reconstructions(subject: Subject) -> Section:
    """The best, the median and the worst of the images measured."""
    x, mean = subject.x, subject.reference.mean(0)
    with subject.model.using("running"):
        y = torch.cat([subject.model(part) for part in x.split(FEW)])
    errors = mse(y, x)
    order = errors.argsort()
    n, middle = len(order), len(order) // 2
    chosen = torch.cat((order[:3], order[middle - 1 : middle + 1], order[n - 3 :])) if n >= SHOWN else order
    spread = (y.var(0, correction=0).sum() / x.var(0, correction=0).sum().clamp(min=1e-12)).item()
    base = mse(mean.expand_as(x), x).mean().item()
    numbers = {
        "kept": 1 - errors.mean().item() / base,
        "varied": spread,
        "mse": errors.mean().item(),
        "mse of the mean image": base,
        "psnr": psnr(y, x).mean().item(),
    }
    figure = pictures.comparison(
        {"image": x[chosen], "reconstruction": y[chosen]},
        {"reconstruction": f"errors {errors.min():.4f}, {errors.median():.4f}, {errors.max():.4f}"},
    )
    caption = (
        f"How to read it: three best, two middling and three worst of {n} {subject.held_out} images, left to "
        "right. The text says the squared error per pixel of the best, the middle and the worst."
    )
    if subject.model.stochastic:
        used = CodeStatistics()(subject.model, x, subject.rng).numbers
        numbers["used"] = (used["active_units"] / used["units"]).item()
    text = (
        f"{subject.held_out.capitalize()} images, encoded and decoded: {numbers['mse']:.4f} squared error per "
        f"pixel, where the mean {subject.training} image leaves {base:.4f}."
    )
    again = "" if subject.run is None else f"copyfold denoise {subject.run.folder} IMAGE --out FOLDER"
    return Section("What it keeps", text, (Plate(figure, caption, again),), numbers)


def noise(subject: Subject) -> Section:
    """The denoising curve against the baselines."""
    corruptions: tuple[Corruption, ...] = (*map(Gaussian, STDS), Mix(), Masking())
    readings = [_denoised(subject, corruption) for corruption in corruptions]
    means = [{name: error.mean().item() for name, error in reading.numbers.items()} for reading in readings]
    wanted = ("corrupted", "restored", "reconstruction", "7x7 filter", "PCA-Wiener", "wavelet", "mean image")
    called = {"corrupted": "doing nothing", "restored": "the model", "reconstruction": "the model on clean images"}
    series = {called.get(name, name): (STDS, [m[name] for m in means[: len(STDS)]]) for name in wanted}
    curve = pictures.curves(series, "std of the noise", "squared error per pixel", logy=True)
    shown, numbers = means[2], {}
    for corruption, reading, mean in zip(corruptions, readings, means, strict=True):
        best, errors = best_baseline(reading)
        numbers |= {f"{corruption}: {name}": value for name, value in mean.items()}
        numbers[f"{corruption}: restored / {best}, the best baseline"] = mean["restored"] / errors.mean().item()
    best, errors = best_baseline(readings[2])
    numbers = {
        "noise left": shown["restored"] / shown["corrupted"],
        "rival": shown["restored"] / errors.mean().item(),
        "rival left": errors.mean().item() / shown["corrupted"],
    } | numbers
    images = {name: readings[2].images[name] for name in ("clean", "corrupted", "restored", best)}
    rows = {name: _spread(found, SHOWN) for name, found in images.items()}
    figure = pictures.comparison(rows, {name: f"{shown[name]:.4f}" for name in rows if name in shown})
    again = command(subject, Denoising(corruptions[2]))
    text = (
        f"Noise of std 0.2 on {len(readings[2].images['clean'])} {subject.held_out} images: the model leaves "
        f"{shown['restored']:.4f} of {shown['corrupted']:.4f} squared error per pixel, the best baseline, {best}, "
        f"{errors.mean():.4f}. The baselines are told the std and tuned on {subject.training} images; the model "
        "is not."
    )
    captions = (
        "How to read it: lower is better. Where the model's line is under every filter's, it has learned more "
        "of images than a filter knows; it cannot come under its own error on clean images unless it was "
        "trained to denoise.",
        "How to read it: what was given, noise of std 0.2, what the model makes of it, and the best baseline, "
        f"{best}.",
    )
    plates = (Plate(curve, captions[0], again), Plate(figure, captions[1], again))
    return Section("What noise it removes", text, plates, numbers)


def _denoised(subject: Subject, corruption: Corruption) -> Reading:
    return Denoising(corruption, subject.reference)(subject.model, subject.few(SOME), subject.rng)


def copying(subject: Subject) -> Section:
    """How far from the identity."""
    probe = IdentityGap()
    reading = probe(subject.model, subject.few(SOME), subject.rng)
    gap, passed, jacobian = (reading.numbers[name].median().item() for name in ("gap", "passed", "jacobian"))
    x = subject.few(SHOWN)
    noisy = probe.corruption(x, subject.rng)
    with torch.no_grad(), subject.model.using("running"):
        restored = subject.model(noisy)
    rows = {"image": x, "with noise": noisy, "output": restored, "output - image": 0.5 + restored - x}
    caption = (
        "How to read it: the last row is what the output has beside the image, grey where nothing. Noise there "
        "has passed through; outlines there are detail that was lost."
    )
    text = (
        f"Of what is added to an image {passed:z.1%} comes out again: of the identity all would, of a constant "
        f"nothing. The output is {gap:.2f} times as far from the noisy image as the noise had moved it (the "
        f"identity: 0, a perfect denoiser: 1), and the Jacobian {jacobian:.2f} from the identity's, per pixel."
    )
    plate = Plate(pictures.comparison(rows), caption, command(subject, probe))
    return Section(
        "Does it copy?",
        text,
        (plate,),
        {"passed": passed, "gap": gap, "distance of the Jacobian from I": jacobian},
    )


def stability(subject: Subject) -> Section:
    """Where its own map leads."""
    probe = Stability(steps=60, reference=subject.reference)
    values = Stability(steps=1, values=1, reference=subject.reference)
    walked = replace(probe, values=0)(subject.model, subject.few(SOME), subject.rng).numbers
    stretch = values(subject.model, subject.few(SHOWN), subject.rng).numbers["singular values"][:, 0]
    numbers = {
        "walking": walked["fraction"].item(),
        "walking, low": walked["fraction, low"].item(),
        "walking, high": walked["fraction, high"].item(),
        "stretch": stretch.median().item(),
        "blown up": (walked["displacement"] > 1).float().mean().item(),
        "at rest": (walked["period"] == 1).float().mean().item(),
        "in a cycle": (walked["period"] > 1).float().mean().item(),
        "late step": walked["late step"].median().item(),
        "displacement": walked["displacement"].median().item(),
        "tau": walked["tau"].item(),
    }
    walk = Walk(steps=60, std=0.0)
    rows = _filmed(subject, walk, subject.few(SHOWN), (1, 3, 10, 30, 60), "running")
    caption = (
        "How to read it: every row is the output of the model given the row above, without noise, after so "
        "many steps. Where a column changes into another image or fades, the model does not hold on to that "
        "image."
    )
    text = (
        f"{walked['walks'].sum():.0f} of {len(walked['walks'])} {subject.held_out} images walk away within "
        f"{probe.steps} steps ({numbers['walking']:.0%}, 95 % interval {numbers['walking, low']:.0%} to "
        f"{numbers['walking, high']:.0%}): farther than {numbers['tau']:.3f} per pixel from where they came to "
        "first, half of the distance between neighbouring photos, or to another nearest one. Batch norms, if "
        "any, use their running averages."
    )
    plate = Plate(pictures.comparison({"image": subject.few(SHOWN)} | rows), caption, command(subject, walk))
    return Section("Is its manifold stable?", text, (plate,), numbers)


def seeing(subject: Subject) -> Section:
    """An image per layer."""
    x = subject.few(4)
    names = layers(subject.model, x, 6)
    rows: dict[str, Images] = {"image": x}
    captions, numbers = {}, {}
    probe = Inversion()
    for name in names:
        probe = Inversion(layer=name)
        reading = probe(subject.model, x, subject.rng)
        rows[name] = reading.images["found"]
        numbers |= {
            f"{name}: {what}": reading.numbers[what].median().item()
            for what in ("psnr", "image", "layer", "noise")
        }
        near = reading.numbers["psnr"].median().item()
        captions[name] = f"{near:.1f} dB" if near < EXACT else "the image itself"
    caption = (
        "How to read it: each image was found by starting from noise and changing it until the layer took it "
        "for the image at the top. What is missing or noisy in a row is what that layer cannot see any more. "
        "In dB: how near it is to the image (20 is rough, 30 is close)."
    )
    text = "What a layer tells apart, and what it takes for the same, from the first layers to the last."
    plate = Plate(pictures.comparison(rows, captions), caption, command(subject, probe))
    return Section("What its layers can still see", text, (plate,), numbers)


def making(subject: Subject) -> Section:
    """What it makes, beside the nearest images that it was trained on."""
    sampler: Sampler = Prior() if subject.model.stochastic else Renoising()
    count = min(len(subject.x), len(subject.reference) // 2, 64)
    start = sampler.noise(count, subject.model.shape, subject.rng)
    assert start is not None
    *_, made = sampler(subject.model, start.to(subject.x), subject.rng)
    made = torch.nan_to_num(made, nan=0.0, posinf=1.0, neginf=0.0).clamp(0, 1)
    nearest = Nearest(subject.reference)
    near = nearest(subject.model, made, subject.rng)
    real = nearest(subject.model, subject.x, subject.rng)
    quality = Quality(subject.reference, floor=subject.x)(subject.model, made, subject.rng).numbers
    distances = near.numbers["distance"].median().item(), real.numbers["distance"].median().item()
    nearest_known = f"nearest {subject.training} image"
    numbers = {
        "likeness": (quality["sliced Wasserstein"] / quality["sliced Wasserstein, real"]).item(),
        "variety": (spread(made)[0] / spread(subject.x)[0].clamp(min=1e-12)).item(),
        f"distance to the {nearest_known}": distances[0],
        f"distance to the {nearest_known}, {subject.held_out.replace('-', ' ')}": distances[1],
    } | {name: value.item() for name, value in quality.items()}
    if subject.training == "training":  # other photos cannot be remembered
        numbers["novelty"] = distances[0] / max(distances[1], 1e-12)
    name = type(sampler).__name__
    walk = Walk(steps=30)
    rows = {
        f"made from noise ({name})": made[:SHOWN],
        nearest_known: near.images["nearest"][:SHOWN],
        **{f"walked, {k}": v for k, v in _filmed(subject, walk, subject.few(SHOWN), (30,), None).items()},
    }
    distances_shown = {nearest_known: f"{distances[0]:.3f} away; {subject.held_out} images {distances[1]:.3f}"}
    twice = "the same picture twice would mean that it was remembered. " if "novelty" in numbers else ""
    caption = (
        f"How to read it: the first row is made from nothing but noise, the second is the {subject.training} "
        f"image nearest to it. {twice.capitalize()}The last row set out from {subject.held_out} images and walked "
        f"{walk.steps} noisy steps through the codes."
    )
    text = (
        f"Patches of what it makes are {numbers['likeness']:.1f} times as far from those of {subject.training} "
        f"images as patches of {subject.held_out} images are (sliced Wasserstein distance over a Laplacian "
        "pyramid)."
    )
    if numbers["variety"] < ALIKE:
        text += (
            f" They are all but the same: they differ from each other by {numbers['variety']:.2f} of what photos "
            "do (root mean square per pixel)."
        )
    plate = Plate(pictures.comparison(rows, distances_shown), caption, command(subject, sampler))
    return Section("What it makes", text, (plate,), numbers)


def codes(subject: Subject) -> Section:
    """The map of the codes."""
    size = subject.model.summary().code_size
    drawn = subject.known.some(max(SHOWN, min(MAPPED, NUMBERS_OF_CODES // size)), subject.seed)
    x, labels = drawn.images, drawn.labels
    probe = Latent(labels=labels)
    found = probe(subject.model, x, subject.rng).numbers
    numbers: dict[str, float] = {name: v.item() for name, v in found.items() if v.dim() == 0}
    names = subject.photos.classes
    kinds: Any = x.mean((1, 2, 3)) if labels is None else labels
    if labels is not None and names:
        kinds = [names[label] if label >= 0 else "no label" for label in labels.tolist()]
    figure = pictures.scatter(found["map"], kinds)
    coloured = "how bright the image is" if labels is None else "its label"
    caption = (
        f"How to read it: each point is the code of a {subject.training} image, in two dimensions by t-SNE; its "
        f"colour is {coloured}. Neighbours are alike to the model; distances between far groups mean nothing."
    )
    text = (
        f"A code has {size:,} numbers; over {len(x)} images they vary in about "
        f"{numbers['effective dimension']:.0f} directions (participation ratio)."
    )
    if "purity" in numbers:
        text += (
            f" {numbers['purity']:.0%} of the ten nearest codes have the same label, by chance "
            f"{numbers['purity by chance']:.0%} would."
        )
    return Section("Its codes", text, (Plate(figure, caption, command(subject, probe)),), numbers)


def _spread(images: Images, count: int) -> Images:
    """At most so many of some images, spread evenly over them."""
    return images[torch.from_numpy(stratified(len(images), count)).to(images.device)]


def _filmed(
    subject: Subject, sampler: Sampler, x: Images, steps: Iterable[int], statistics: Statistics | None
) -> dict[str, Images]:
    """Some of the frames of a film, by their number."""
    wanted = set(steps)
    with subject.model.using(statistics or subject.model.statistics):
        film = enumerate(sampler(subject.model, x, subject.rng), 1)
        return {f"{n} steps" if n > 1 else "1 step": frame for n, frame in film if n in wanted}


PARTS: tuple[Part, ...] = (reconstructions, noise, copying, stability, seeing, making, codes, training)
