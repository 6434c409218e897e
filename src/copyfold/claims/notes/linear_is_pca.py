"""The notes' section on bottlenecks, PCA and convolutions; and what all studies of the notes share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder, flat
from copyfold.models.conv import Conv
from copyfold.models.dense import MLP, Linear
from copyfold.objectives.base import Classical, Objective
from copyfold.objectives.fidelities import Bernoulli
from copyfold.probes.latent import Latent, agreement
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.types import Images, Shape

BOTTLENECK = 'notes on Murphy, "20.3.1 Bottleneck autoencoders"'
SIDE, BATCH, SHOWN = 28, 128, 8
SHORT, EPOCHS, LONG = (
    5,
    10,
    20,
)  # passes over the images: the notes' plain networks, their regularised ones, and ours
LONGER = 75  # of the perceptron, which take about the time of the CNN's 5
CODE = 30  # numbers of the code of the notes' perceptron
NEAREST = 10  # codes that are asked for their class

CROSS_ENTROPY = Classical(fidelity=Bernoulli())


def fashion(lab: Lab, classes: bool = False) -> Photos:
    """The notes' images at their side, or at the budget's where that is smaller; DataError without `classes`."""
    find = lab.labelled if classes else lab.photos
    return find("fashion_mnist", min(SIDE, lab.budget.side))


def course(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    epochs: Sequence[int],
    objective: Objective | None = None,
    **plan: Any,
) -> list[Autoencoder]:
    """One training looked at after so many passes over the images, of fewer where the budget is tiny."""
    batches = len(photos) // min(BATCH, len(photos))
    steps = [min(n, lab.budget.scaled(n)) * batches for n in epochs]
    return lab.course(make, photos, seed, steps, objective, BATCH, **plan)


def learned(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    epochs: int,
    objective: Objective | None = None,
    **plan: Any,
) -> Autoencoder:
    """The same, of which only the end matters."""
    return course(lab, make, photos, seed, (epochs,), objective, **plan)[0]


def pca(images: Images, latent_dim: int) -> Linear:
    """Scikit-learn's PCA of these images as a linear autoencoder; of fewer components where there are no more."""
    from sklearn.decomposition import PCA

    rows = images.flatten(1).cpu().numpy()
    found = PCA(min(latent_dim, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    directions, mean = (torch.from_numpy(a).to(images) for a in (found.components_, found.mean_))
    c, h, w = images.shape[1:]
    model = Linear((c, h, w), len(directions)).to(images.device).eval()
    weights = {"encoder.1.weight": directions, "encoder.1.bias": -directions @ mean}
    model.load_state_dict(weights | {"decoder.0.weight": directions.T, "decoder.0.bias": mean})
    return model


def purities(codes: Tensor, labels: Tensor) -> Tensor:
    """The share of the nearest other codes that have its own class, of every code: the mean is the purity."""
    return agreement(codes, labels, min(NEAREST, len(codes) - 1))


def classed(lab: Lab, photos: Photos) -> tuple[Images, Tensor]:
    """More held-out images than are measured elsewhere, as classes share them, and the class of each."""
    x = lab.images(photos, count=8 * lab.budget.measured)
    return x, lab.labels(photos, len(x))


def mapped(lab: Lab, photos: Photos, model: Autoencoder, x: Images, labels: Tensor, name: str) -> Any:
    """A figure of the t-SNE of a model's codes, coloured by class."""
    points = Latent()(model, x, lab.rng(0, "map")).numbers["map"]
    names = labels if photos.classes is None else [photos.classes[i] for i in labels.tolist()]
    return pictures.scatter(
        points, names, "first coordinate of t-SNE", "second coordinate of t-SNE", f"Codes: {name}"
    )


@dataclass(frozen=True)
class LinearIsPCA(Study):
    """A linear autoencoder is PCA, and a nonlinear one is strictly better.

    A network of two linear layers, D -> 30 -> D, learns to copy Fashion-MNIST by its squared error, and stands
    beside scikit-learn's PCA with 30 components of the same images. "Error over PCA" is of training images, which
    the theorem is about. The overlap is the mean squared cosine of the angles between the two spaces of outputs, 1
    where they are the same. The nonlinear network is the notes' perceptron, D-100-30-100-D; its error over PCA's
    is of held-out images.

    Controls: the linear network before training, whose space is no nearer than chance; the mean image; how far the
    network's matrix W2 W1 is from the projection onto the principal components, over its norm. The largest
    of the 30 angles does not decide: components of nearly the same variance can be swapped at hardly any cost.

    The curve has the cosine of each angle, from the best shared direction to the least. The images, rows from the
    top: held-out images, and what each gives back of them.
    """

    claim: ClassVar[str] = "T32"
    place: ClassVar[str] = f"{BOTTLENECK}: x^ = W2 W1 x, equivalent to PCA; nonlinear, strictly more powerful"
    items: ClassVar[tuple[int, ...]] = (154,)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Without a nonlinearity take PCA, which is exact in a second; with one, copying improves.",
        Verdict.MIXED: "Not all of it: where only space or error differ, descent has not arrived at PCA in this "
        "time; where only the perceptron fails, its layers are not worth their training.",
        Verdict.FAILS: "Descent does not find PCA in this time, and layers between do not help: take PCA.",
    }

    error_over_pca: Below = Below(1.05)
    overlap: Above = Above(0.95)
    nonlinear_error_over_pca: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Compare errors and spaces."""
        photos = fashion(lab)
        x, seen = lab.images(photos), lab.images(photos, "train")
        everything = lab.images(photos, "train", len(photos))
        exact = pca(everything, CODE)
        linear = partial(Linear, latent_dim=exact.latent_dim)
        perceptron = partial(MLP, hidden=[100], latent_dim=exact.latent_dim)
        train = partial(learned, lab, photos=photos, epochs=LONG, schedule="cosine", precision="32")
        models = lab.each(
            lambda seed: (
                train(make=linear, seed=seed, lr=1e-2),  # smaller steps leave out one component or another
                train(make=perceptron, seed=seed),
                lab.untrained(linear, photos, seed),
            )
        )
        ours, nonlinear, first = zip(*models, strict=True)
        best, times = mse(output(exact, x), x), len(models)
        mean = mse(everything.mean(0).expand_as(x), x)
        cosines = {
            name: torch.stack([shared(model, exact) for model in of])
            for name, of in {"trained": ours, "untrained": first}.items()
        }
        angles = torch.rad2deg(torch.acos(cosines["trained"][:, -1].clamp(max=1)))
        numbers = {
            "error over pca": statistics.ratio(copy_errors(ours, seen), [mse(output(exact, seen), seen)] * times),
            "overlap": statistics.over_seeds(cosines["trained"].square().mean(1).tolist()),
            "nonlinear error over pca": statistics.ratio(copy_errors(nonlinear, x), [best] * times),
            "error over pca, held out": statistics.ratio(copy_errors(ours, x), [best] * times),
            "error over pca, mean image": statistics.ratio([mean] * times, [best] * times),
            "overlap, untrained": statistics.over_seeds(cosines["untrained"].square().mean(1).tolist()),
            "largest angle in degrees": statistics.over_seeds(angles.tolist()),
            "from the projection": statistics.over_seeds([_from_projection(m, exact) for m in ours]),
        }
        order = list(range(1, exact.latent_dim + 1))
        figure = pictures.curves(
            {name: (order, c.mean(0)) for name, c in cosines.items()},
            "shared direction, the best first",
            "cosine of the angle",
            bands={name: (c.amin(0), c.amax(0)) for name, c in cosines.items()},
        )
        rows = {"clean": x, "PCA": output(exact, x), "linear": output(ours[0], x)}
        rows |= {"nonlinear": output(nonlinear[0], x)}
        looks = pictures.comparison({name: images[:SHOWN] for name, images in rows.items()})
        return Finding(numbers, {"angles": figure, "images": looks})


@dataclass(frozen=True)
class ConvolutionsCopyBetter(Study):
    """A convolutional autoencoder copies more accurately than a perceptron.

    The notes' networks learn Fashion-MNIST for 5 epochs by the cross-entropy: D-100-30-100-D, and convolutions of
    16, 32 and 64 maps with a code of 64 maps. Adam takes the place of their plain descent. The number is the
    squared error of the one over the other's, of held-out images. The CNN's code has 19 times as
    many numbers as the perceptron's: a second ratio is of a CNN whose last stage is as narrow as that.

    Controls: a perceptron of no more parameters than the CNN; one that learned 75 epochs, for about the time of
    the CNN on a CPU (the cost of a step is measured beside). Purity is the share of the 10 nearest codes that have
    an image's class: of pixels and of PCA's codes too, which have learned nothing about classes either.

    In the images, rows from the top: clean, and what each gives back. The maps are the t-SNE of all numbers of the
    codes (not of two, as the notes say), a point an image, coloured by its class.
    """

    claim: ClassVar[str] = "T32-cnn"
    place: ClassVar[str] = f"{BOTTLENECK}: the reconstructions of MLP and CNN after 5 epochs, and their t-SNE maps"
    items: ClassVar[tuple[int, ...]] = (55, 130, 131, 154)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Convolutions are worth their time for images, whatever the size of the code.",
        Verdict.MIXED: "What differs is the size of the code and not the convolutions: with as few numbers "
        "they are no better.",
        Verdict.FAILS: "For small images and a short training take the perceptron: it is better and faster.",
    }

    cnn_over_mlp_error: Below = Below(1.0)
    cnn_over_mlp_error_equal_code: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Copy with each, and ask the neighbours of the codes for their class."""
        photos = fashion(lab, classes=True)
        x, many = lab.images(photos), classed(lab, photos)
        mlp, cnn, narrow, small = contestants(photos.shape)

        def train(seed: int) -> dict[str, Autoencoder]:
            usual, longer = course(lab, mlp, photos, seed, (SHORT, LONGER), CROSS_ENTROPY)
            short = {
                name: learned(lab, make, photos, seed, SHORT, CROSS_ENTROPY)
                for name, make in {"CNN": cnn, "CNN, equal code": narrow, "MLP, equal parameters": small}.items()
            }
            return {"MLP": usual, **short, f"MLP, {LONGER} epochs": longer}

        models = lab.each(train)
        errors = {name: copy_errors([of[name] for of in models], x) for name in models[0]}
        numbers = {
            "cnn over mlp error": statistics.ratio(errors["CNN"], errors["MLP"]),
            "cnn over mlp error equal code": statistics.ratio(errors["CNN, equal code"], errors["MLP"]),
        }
        for name in [name for name in errors if "," in name and "code" not in name]:
            others = name.partition(", ")[2]
            numbers[f"cnn over mlp error, {others}"] = statistics.ratio(errors["CNN"], errors[name])
        steps = {
            name: (lab.untrained(make, photos, 0), CROSS_ENTROPY) for name, make in (("MLP", mlp), ("CNN", cnn))
        }
        batch = lab.images(photos, "train", BATCH)
        times = [costs(lab, steps, batch)["CNN"] for _ in lab.seeds]
        numbers["time of a step, CNN over MLP"] = statistics.over_seeds(times)
        numbers |= self._purities(lab, photos, models, *many)
        figures = {
            f"map-{name.lower()}": mapped(lab, photos, models[0][name], *many, name) for name in ("MLP", "CNN")
        }
        rows = {"clean": x[:SHOWN]} | {name: output(model, x[:SHOWN]) for name, model in models[0].items()}
        captions = {name: f"error {torch.stack(of).mean():.4f}" for name, of in errors.items()}
        return Finding(numbers, {"images": pictures.comparison(rows, captions)} | figures)

    def _purities(
        self, lab: Lab, photos: Photos, models: list[dict[str, Autoencoder]], x: Images, labels: Tensor
    ) -> dict[str, Estimate]:
        """Of the codes, and of what has learned nothing of them."""
        exact = pca(lab.images(photos, "train", len(photos)), CODE)
        found = {name: [purities(coded(of[name], x), labels) for of in models] for name in ("MLP", "CNN")}
        found["pixels"] = [purities(x.flatten(1), labels)] * len(models)
        found["PCA"] = [purities(coded(exact, x), labels)] * len(models)
        return {f"purity, {name}": statistics.mean(shares) for name, shares in found.items()}


def contestants(shape: Shape) -> tuple[Make, Make, Make, Make]:
    """The notes' perceptron and CNN; a CNN of no larger code, and a perceptron of no more parameters."""
    look = {"activation": "selu", "output": "sigmoid"}
    cnn = partial(Conv, channels=(16, 32, 64), **look)
    with torch.device("meta"):
        weights = cnn(shape).summary().parameters
    positions, size = (shape[1] // 8) * (shape[2] // 8), prod(shape)
    # D h + h + 30 h + 30 one way, 30 h + h + D h + D the other
    units = (weights - size - CODE) // (2 * (size + CODE + 1))
    narrow = partial(Conv, channels=(16, 32, max(1, CODE // positions)), **look)
    mlp, small = (partial(MLP, hidden=[h], latent_dim=CODE, **look) for h in (100, max(1, units)))
    return mlp, cnn, narrow, small


def costs(lab: Lab, steps: Mapping[str, tuple[Autoencoder, Objective]], x: Images) -> dict[str, float]:
    """How long a step of training takes, over one of the first's: the median of rounds in which all take turns."""
    from statistics import median
    from time import perf_counter

    run = {name: _stepper(model, objective, x) for name, (model, objective) in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(1 + lab.budget.scaled(11)):
        for name, step in run.items():
            start = perf_counter()
            step()
            times[name].append(perf_counter() - start)
    first = next(iter(times.values()))[1:]  # without the round in which memory is made
    return {name: median(a / b for a, b in zip(of[1:], first, strict=True)) for name, of in times.items()}


def _stepper(model: Autoencoder, objective: Objective, x: Images) -> Any:
    """One step of Adam, which a GPU has ended when it returns."""
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(objective(model, x).values())).sum()
        loss.backward()
        optimizer.step()
        return next(model.parameters()).flatten()[0].item()

    return step


@torch.no_grad()
def coded(model: Autoencoder, x: Images) -> Tensor:
    """Each image's code as one vector."""
    return flat(model.encode(x))


def shared(model: Autoencoder, other: Autoencoder) -> Tensor:
    """The cosines of the angles between the spaces that two linear decoders span, the largest first."""
    a, b = (torch.linalg.qr(m.decoder[0].weight.detach()).Q for m in (model, other))
    return torch.linalg.svdvals(a.T @ b)


def _from_projection(model: Autoencoder, exact: Autoencoder) -> float:
    """||W2 W1 - P|| / ||P||, P the projection onto the principal components."""
    a, b = (m.decoder[0].weight.detach() @ m.encoder[1].weight.detach() for m in (model, exact))
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def output(model: Autoencoder, x: Images) -> Images:
    """What comes out, without a gradient."""
    return model(x)


def copy_errors(models: Sequence[Autoencoder], x: Images) -> list[Tensor]:
    """The squared error per image, of every model."""
    return [mse(output(model, x), x) for model in models]
