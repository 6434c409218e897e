"""How well a network copies, in the numbers that every page shows: what a claim's regime is stated in."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from copyfold.data import Photos
from copyfold.measures import mse, psnr
from copyfold.models.base import Autoencoder
from copyfold.models.dense import Linear
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import Copying, Seen
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.networks import LARGE, projection, restored
from copyfold.types import Float, Images, Statistics

BASIS = 2048  # training images at most that PCA is fitted to
MARK = "copying of "  # begins the names of these numbers in a reading

SEEN: dict[Seen, tuple[str, Statistics]] = {
    "held out": ("held_out", "running"),
    "training": ("train", "running"),
    "held out, batches of 64": ("held_out", "batch"),
    "training, batches of 64": ("train", "batch"),
}


def left(model: Autoencoder, x: Images, mean: Tensor, statistics: Statistics = "running") -> float:
    """The share of the images' variance that a copy leaves as error: sum ||D(E(x)) - x||^2 / sum ||mean - x||^2.

    0 for a perfect copy, 1 for the mean image. With batch statistics in batches of 64.
    """
    return _left(restored(model, x, LARGE, statistics), x, mean)


def copying(lab: Lab, name: str, model: Autoencoder, photos: Photos) -> dict[str, Tensor]:
    """The numbers of `Copying` for one seed of the network of this name, to be put into the seed's reading."""
    mean, found = mean_image(lab, photos), dict[str, float]()
    for seen, (which, kind) in SEEN.items():
        x = lab.images(photos, "train" if which == "train" else "held_out")
        copy = restored(model, x, LARGE, kind)
        found[f"left, {seen}"] = _left(copy, x, mean)
        found[f"psnr, {seen}"] = psnr(copy, x).clamp(max=100).mean().item()
    numbers, size = sum(prod(shape) for shape in model.code_shapes()), prod(model.shape)
    for seen in ("held out", "training"):
        curve = linear_left(lab, photos, seen)
        found[f"pca, {seen}"] = 0.0 if numbers >= size else curve[min(numbers, len(curve) - 1)].item()
    curve = linear_left(lab, photos, "held out")
    better = (curve <= found["left, held out"]).nonzero().flatten()
    training = lab.trainings.get(model)
    found |= {
        "components": better[0].item() if len(better) else len(curve) - 1,
        "numbers": numbers,
        "steps": training.steps if training else 0,
        "epochs": training.epochs if training else 0,
    }
    return {f"{MARK}{name}: {what}": torch.tensor(float(value)) for what, value in found.items()}


def qualities(readings: Sequence[Reading]) -> dict[str, Copying]:
    """How every network copies whose numbers are in the readings of the seeds, by its name."""
    names = [name.removeprefix(MARK) for name in readings[0].numbers if name.startswith(MARK)]
    found: dict[str, Copying] = {}
    for network in dict.fromkeys(name.rpartition(": ")[0] for name in names):

        def of(what: str, network: str = network) -> list[float]:
            return [r.numbers[f"{MARK}{network}: {what}"].item() for r in readings]

        found[network] = Copying(
            {seen: statistics.over_seeds(of(f"left, {seen}"), "log") for seen in SEEN},
            {seen: statistics.over_seeds(of(f"psnr, {seen}")) for seen in SEEN},
            {seen: of(f"pca, {seen}")[0] for seen in ("held out", "training")},
            sum(of("components")) / len(readings),
            round(of("numbers")[0]),
            sum(of("steps")) / len(readings),
            sum(of("epochs")) / len(readings),
        )
    return found


def linear_left(lab: Lab, photos: Photos, seen: str = "held out") -> Float[Tensor, "k"]:
    """What PCA of the training images leaves with 0, 1, 2 ... components, of images held out or of training.

    Fitted to up to 2,048 training images, evenly spread; so it ends with as many components, or those of an image.
    """

    def curve() -> Tensor:
        mean, directions = principal(lab, photos)
        x = lab.images(photos, "train" if seen == "training" else "held_out").flatten(1).double().cpu()
        energies = ((x - mean) @ directions.T).square().mean(0)
        whole = (x - mean).square().sum(1).mean()
        return (1 - torch.cat((energies.new_zeros(1), energies.cumsum(0))) / whole).clamp(min=0)

    return lab.once(f"left by PCA, {seen}", photos, curve)


def principal(lab: Lab, photos: Photos) -> tuple[Tensor, Tensor]:
    """The mean of up to 2,048 training images, and their principal directions as rows, the largest first."""
    return lab.once("principal directions", photos, lambda: _principal(lab, photos))


def principal_part(lab: Lab, photos: Photos, count: int) -> Linear:
    """PCA of the training images with this many components, or as many as these have."""
    mean, directions = principal(lab, photos)
    count = max(1, min(count, len(directions)))
    return projection(photos.shape, directions[:count], mean).to(lab.device)


def _left(copy: Images, x: Images, mean: Tensor) -> float:
    """The error of a copy over that of the mean image."""
    return (mse(copy, x).mean() / mse(mean.expand_as(x), x).mean()).item()


def _principal(lab: Lab, photos: Photos) -> tuple[Tensor, Tensor]:
    """The mean of training images, and their principal directions as rows, the largest first."""
    x = lab.images(photos, "train", BASIS).flatten(1).cpu()
    mean = x.mean(0)
    x, wide = x - mean, len(x) < x.shape[1]
    variances, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = (variances > 1e-6 * variances[-1]).flip(0)
    found = vectors.T.flip(0)[kept]
    rows = found @ x / (found @ x).norm(dim=1, keepdim=True) if wide else found
    return mean.double(), rows.double()
