"""What stands beside the curve without a network: noise alone, the best linear filter, the identity, and PCA."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from copyfold.corruptions import Corruption
from copyfold.data import Photos
from copyfold.measures import mse, sharpness
from copyfold.models.adoption import adopt
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.baselines import frequency_filter, linear_filter
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.denoising import FITTED, mean_image, share
from copyfold.studies.toolkit.looks import LEFTS, NOISES, RUNNING, SEEN, measured, noisy_images, undone
from copyfold.studies.toolkit.networks import projection
from copyfold.types import Images

BASIS = 20_000  # training images that principal components and the Wiener filter of whole images are of


def without_network(lab: Lab, photos: Photos, seed: int) -> Reading:
    """What needs no network, per held-out image, as "beside: WHAT".

    "nothing, N" is the noise's own squared error; "linear, error, N" and "linear, passed, N" are of the linear
    filter that is best on these images, of 7x7, 11x11, by frequency, and the Wiener filter of whole images, fitted
    on training images; "identity, WHAT" is of the identity; "pca, passed at LEFT" of PCA that leaves as much.
    """
    return lab.once(f"beside the curve, seed {seed}", photos, lambda: _computed(lab, photos, seed))


def pca_that_leaves(lab: Lab, photos: Photos, error: float) -> tuple[Autoencoder, int]:
    """PCA with the fewest components, at least one, whose squared error on held-out images is no larger."""
    of = _components(lab, photos)
    enough = (of.errors <= 1.0001 * error).nonzero().flatten()  # rounding shall not cost a component
    count = max(1, int(enough[0])) if len(enough) else len(of.directions)
    return projection(photos.shape, of.directions[:count], of.mean).to(lab.device), count


def _computed(lab: Lab, photos: Photos, seed: int) -> Reading:
    x, noisy = lab.images(photos), noisy_images(lab, photos, seed)
    reference, basis = lab.images(photos, "train", FITTED), _components(lab, photos)
    numbers = {"sharpness": sharpness(x), "mean image": mse(mean_image(lab, photos).expand_as(x), x)}
    for name, (centre, corrupted) in noisy.items():
        numbers[f"nothing, {name}"] = mse(corrupted, x)
        seen = NOISES[name](reference, lab.rng(seed, f"fitted, {name}"))
        both = torch.cat((corrupted, centre))
        rivals = {
            "7x7 filter": linear_filter(seen, reference, both, 7),
            "11x11 filter": linear_filter(seen, reference, both, 11),
            "frequency filter": frequency_filter(seen, reference, both),
            "Wiener filter": _wiener(basis, NOISES[name], both),
        }
        chosen = min(rivals.values(), key=lambda y: mse(y[: len(x)], x).mean().item())
        output, quiet = chosen.split(len(x))
        numbers[f"linear, error, {name}"] = mse(output, x)
        numbers[f"linear, passed, {name}"] = share(output - quiet, corrupted - centre)
    same = adopt(nn.Identity(), photos.shape, encode="forward", decode=torch.Tensor.clone)
    numbers |= {f"identity, {k}": v for k, v in measured(same, x, noisy, [RUNNING])[0].items()}
    whole = numbers["mean image"].mean().item()
    for bound in LEFTS:
        count = pca_that_leaves(lab, photos, bound * whole)[1]
        numbers[f"pca, passed at {bound:g}"] = torch.tensor(count / prod(photos.shape))
    images = {"clean": x[:SHOWN]} | {name: noisy[name][1][:SHOWN] for name in SEEN}
    return Reading(*({f"beside: {k}": v for k, v in of.items()} for of in (numbers, images)))


@dataclass(frozen=True)
class _Components:
    """Principal components of training images: rows, the largest first; and the squared error that PCA leaves.

    `errors`: of held-out images, with 0, 1, 2 ... components, per value.
    """

    mean: Tensor
    variances: Tensor
    directions: Tensor
    errors: Tensor


def _components(lab: Lab, photos: Photos) -> _Components:
    def make() -> _Components:
        rows = lab.images(photos, "train", BASIS).flatten(1).cpu()
        middle = rows.mean(0)
        covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        for part in (rows - middle).split(4096):
            covariance += (part.T @ part).double() / len(rows)
        variances, vectors = torch.linalg.eigh(covariance)
        directions = vectors.T.flip(0)
        x = lab.images(photos).flatten(1).cpu().double() - middle
        energies = (x @ directions.T).square().mean(0)
        whole = x.square().sum(1).mean()
        left = (whole - torch.cat((energies.new_zeros(1), energies.cumsum(0)))).clamp(min=0) / x.shape[1]
        return _Components(middle, variances.flip(0).clamp(min=0).float(), directions.float(), left)

    return lab.once("components of the curve", photos, make)


def _wiener(of: _Components, noise: Corruption, y: Images) -> Images:
    """The best linear map for Gaussian images: m + sum_i lambda_i / (lambda_i + s^2) <u - m, v_i> v_i."""
    u, std = undone(noise, y)
    middle, directions = of.mean.to(y), of.directions.to(y)
    rows = u.flatten(1) - middle
    shrink = of.variances.to(y) / (of.variances.to(y) + std**2)
    return (middle + ((rows @ directions.T) * shrink) @ directions).view_as(y)
