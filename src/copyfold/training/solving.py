"""PCA: the optimum of a linear autoencoder in closed form, and how far a trained one is from it."""

import logging
import time
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from copyfold import runs
from copyfold.corruptions import Clean
from copyfold.data import Photos, Stream
from copyfold.data.reading.remembered import remember
from copyfold.data.sampling import EVALUATED, as_images, stratified, to_values
from copyfold.errors import UsageError, option
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.models.dense import Linear
from copyfold.models.storing import load
from copyfold.objectives.base import Classical, Objective
from copyfold.objectives.fidelities import SquaredError
from copyfold.training.loss import Tally
from copyfold.training.plan import Plan
from copyfold.training.run_metadata import describe
from copyfold.training.runtime import switched
from copyfold.training.same_images import compare, measured, warn_of_copies
from copyfold.types import Float, Images, Progress

log = logging.getLogger("copyfold")

WHOLE = 4096  # pixel values up to which the covariance is held whole: 134 MB
SPARE = 64  # components more than are wanted: what an incremental PCA forgets is then beyond those
VALUES = 2**22  # pixel values that are added at once
READ = 256  # images in a batch, at most
MEASURED = 64
WORK = 3e10  # multiplications and additions of the PCA that a training is compared with: about two seconds
PASSES = 32  # of these an image's pixel value and component: two in each of sixteen products
FITTED, DECODED = 16384, 1024  # images that it is fitted to, at most: as they lie in memory, or of a stream


class Components(NamedTuple):
    """Principal components: rows of directions, the largest variance first."""

    directions: Float[Tensor, "k d"]
    variances: Float[Tensor, "k"]
    mean: Float[Tensor, "d"]
    total: float
    """The variance of all pixel values together."""


def check_solvable(model: Autoencoder, objective: Objective, photos: Photos | Stream) -> None:
    """Refuse, in one line, what has no closed form here."""
    if not isinstance(model, Linear) or model.output != "linear":
        what = type(model).__name__ + (f"(output={model.output!r})" if isinstance(model, Linear) else "")
        raise UsageError(f"solve finds PCA, and {what} is not linear: give a Linear, or train by steps")
    if not _plain(objective):
        raise UsageError(
            f"solve finds PCA, the optimum of the squared error of a copy, and the objective is {objective}: give "
            "Classical() as it is, or train by steps"
        )
    most = _most(model, len(photos))
    if most == 0:
        raise UsageError("solve finds PCA, and a single image has no principal component: give more images")
    if model.latent_dim > most:
        raise UsageError(
            f"latent_dim={model.latent_dim} is invalid for solve: {len(photos)} images of {prod(model.shape)} "
            f"pixel values have {most} principal components, so expected at most {most}"
        )


def solve(
    run: runs.Run,
    model: Linear,
    objective: Objective,
    photos: Photos | Stream,
    plan: Plan,
    resume: bool,
    progress: Progress | None,
) -> None:
    """Set the model's weights to PCA of all training images, and write its run; one row of the log.

        W1 = V,  b1 = -V m;   W2 = V^T,  b2 = m        V the eigenvectors of the largest variances, m the mean

    Without bias V are those of the second moment, and m is 0. findings/pca.json has the explained variances.
    """
    images = measured(photos)
    if resume and run.history:
        compare(run, images)
        _take_over(model, run)
        remember(run.folder, photos.recipe())
        log.info("%s is finished already: it was solved, which takes no steps", run.folder)
        return
    warn_of_copies(photos)
    started = time.monotonic()
    with switched(model, plan):
        rows = _rows(photos, plan.seed, max(VALUES // prod(model.shape), 2 * (model.latent_dim + SPARE)), progress)
        found = principal(rows, model.latent_dim, model.bias)
        model.project(found.directions, found.mean)
        model.cpu().eval()
        seconds = time.monotonic() - started
        row = {"epoch": 1.0, "step": 1.0, "seconds": seconds}
        row |= _measured(model, objective, photos.sample("train", EVALUATED).images)
        seen = photos.held_out[stratified(len(photos.held_out), EVALUATED)]
        row |= {f"held_out_{name}": value for name, value in _measured(model, objective, as_images(seen)).items()}
    describe(run, model, objective, photos, images, plan)
    remember(run.folder, photos.recipe())
    model.save(run.folder / "model")
    shares = found.variances / (found.total or 1.0)  # of images that are all the same there is no variance
    numbers = {"explained_variance": found.variances, "explained_variance_ratio": shares}
    run.write_finding("pca.json", {name: value.tolist() for name, value in numbers.items()})
    run.write_history([row])  # last: it says that everything else is there
    log.info(
        "solved in %.1f seconds: %d principal components with %.1f %% of the variance",
        seconds,
        model.latent_dim,
        100 * float(shares.sum()),
    )


def above_pca(model: Autoencoder, objective: Objective, photos: Photos | Stream) -> list[str]:
    """How far a trained linear autoencoder is from PCA, in a sentence; none where it is not one of a plain copy.

    PCA is fitted to a sample of training images that takes about two seconds (Halko, Martinsson and Tropp's
    randomised one, 2011), and both are measured on the held-out images of the log.
    """
    held_out = photos.held_out[stratified(len(photos.held_out), EVALUATED)]
    if not isinstance(model, Linear) or model.output != "linear" or not _plain(objective) or not len(held_out):
        return []
    most = DECODED if isinstance(photos, Stream) else FITTED
    count = min(most, len(photos), int(WORK / PASSES / prod(model.shape) / (model.latent_dim + 10)))
    if count < min(len(photos), 10 * model.latent_dim) or model.latent_dim > _most(model, count):
        return []  # of so few images it would be worse than PCA of all
    from sklearn.decomposition import PCA, TruncatedSVD

    x = photos.sample("train", count).images.flatten(1).numpy()
    with np.errstate(invalid="ignore"):  # images that are all the same have no variance to take a share of
        if model.bias:
            pca = PCA(model.latent_dim, svd_solver="randomized", random_state=0).fit(x)
        else:
            pca = TruncatedSVD(model.latent_dim, random_state=0).fit(x)
    exact = Linear(model.shape, model.latent_dim, model.bias)
    mean = torch.from_numpy(np.asarray(getattr(pca, "mean_", np.zeros(x.shape[1]))))
    exact.project(torch.from_numpy(pca.components_).to(mean), mean)
    with torch.no_grad():
        y = as_images(held_out).to(next(model.parameters()))
        ours, best = (mse(m(y), y).mean().item() for m in (model, exact.to(y)))
    if best <= 0:
        return []
    more = 100 * (ours / best - 1)
    said = f"that of PCA with as many numbers, fitted to {count:,} training images"
    if abs(more) < 0.5:
        return [f"its held-out error is {said}"]
    advice = "; solve=True (--solve) finds PCA itself" if more > 1 else ""
    size = f"{abs(more):.2g}" if abs(more) < 10 else f"{abs(more):,.0f}"
    return [f"its held-out error is {size} % {'above' if more > 0 else 'below'} {said}{advice}"]


def principal(rows: Iterable[Float[Tensor, "n d"]], count: int, centred: bool = True) -> Components:
    """The first principal components of rows that come in parts; memory does not grow with their number.

        C = sum_i (x_i - m) (x_i - m)^T / (n - 1),   C V^T = V^T diag(variances)

    Of up to 4,096 values the covariance is held whole and diagonalised: exact. Of more, scikit-learn's
    IncrementalPCA (Ross, Lim, Lin and Yang, 2008) with 64 components more than wanted: approximate where there
    are several parts. Not `centred`, m = 0 and C = sum_i x_i x_i^T / n. Components are turned so that the
    largest of their values is positive.
    """
    iterator = iter(rows)
    first = next(iterator)
    parts = _with(first, iterator)
    make = _exact if first.shape[1] <= WHOLE else _incremental
    found = make(parts, count, centred)
    places = found.directions.abs().argmax(1, keepdim=True)
    return found._replace(directions=found.directions * found.directions.gather(1, places).sign())


def _exact(rows: Iterable[Tensor], count: int, centred: bool) -> Components:
    """By the covariance as a whole; sums of pixels in float64 lose nothing that matters."""
    from scipy.linalg import eigh

    n, total, moment = 0, torch.zeros(()), torch.zeros(())
    for x in rows:
        x = x.double()
        n, total, moment = n + len(x), total + x.sum(0), moment + x.T @ x
    mean = total / n if centred else torch.zeros_like(total)
    covariance = (moment - n * mean.outer(mean)) / (n - centred)
    d = len(mean)
    variances, directions = eigh(covariance.numpy(), subset_by_index=(d - count, d - 1))
    found = torch.from_numpy(directions.T[::-1].copy())  # torch takes no view that runs backwards
    variances = torch.from_numpy(variances[::-1].copy()).clamp(min=0)
    return Components(found, variances, mean, float(covariance.trace()))


def _incremental(rows: Iterable[Tensor], count: int, centred: bool) -> Components:
    """Part by part; rows that are not to be centred come with their negatives, whose mean with them is 0."""
    from sklearn.decomposition import IncrementalPCA

    pca: Any = None
    with np.errstate(invalid="ignore"):  # as in above_pca
        for x in rows:
            x = x if centred else torch.cat((x, -x))
            pca = pca or IncrementalPCA(min(count + SPARE, *x.shape))
            pca.partial_fit(x.numpy())
    directions, variances, mean = map(torch.from_numpy, (pca.components_, pca.explained_variance_, pca.mean_))
    n = int(pca.n_samples_seen_)
    return Components(directions[:count], variances[:count], mean, float(pca.var_.sum()) * n / (n - 1))


def _rows(
    photos: Photos | Stream, seed: int, size: int, progress: Progress | None
) -> Iterator[Float[Tensor, "n d"]]:
    """Every training image once, as rows in [0, 1]: `size` or more at a time, unless there are fewer in all."""
    whole = next(b for b in range(min(READ, len(photos)), 0, -1) if len(photos) % b == 0)  # drops no last batch
    held: list[Tensor] = []
    waiting = done = 0
    for batch in photos.batches(whole, seed):
        held.append(to_values(batch).flatten(1))
        waiting, done = waiting + len(batch), done + len(batch)
        if progress is not None:
            progress("solving", done, len(photos), {})
        if waiting >= size and len(photos) - done >= size:
            yield torch.cat(held)
            held, waiting = [], 0
    yield torch.cat(held)


def _with(first: Tensor, others: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from others


@torch.no_grad()
def _measured(model: Autoencoder, objective: Objective, x: Images) -> runs.Row:
    """The loss, its terms and its diagnostics, as a row of the log has them."""
    tally = Tally()
    size = next((b for b in range(min(MEASURED, len(x)), 0, -1) if len(x) % b == 0), 1)  # equal parts
    for part in x.split(size):
        watch: dict[str, Tensor] = {}
        terms = objective(model, part, watch)
        tally.add({"loss": torch.stack(list(terms.values())).sum()} | terms | watch)
    return tally.take()


def _take_over(model: Linear, run: runs.Run) -> None:
    """Give the model the weights of a run that was solved; UsageError where that is of another model."""
    saved = load(run.folder)
    if (type(saved), saved.config) != (type(model), model.config):
        given = ", ".join(f"{name}={value}" for name, value in saved.config.items())
        raise UsageError(
            f"{run.folder} is of another model, {type(saved).__name__} with "
            f"{given}: leave out {option('model')}, or start "
            f"again with {option('overwrite', True)}"
        )
    model.load_state_dict(saved.state_dict())


def _plain(objective: Objective) -> bool:
    """Whether it is the squared error of a copy, and nothing else."""
    return (
        type(objective) is Classical
        and type(objective.corruption) is Clean
        and type(objective.fidelity) is SquaredError
        and not objective.penalties
    )


def _most(model: Linear, images: int) -> int:
    """How many principal components so many images have."""
    return min(prod(model.shape), images - model.bias)
