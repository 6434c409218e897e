"""What is refused before the first step, rather than after minutes."""

import logging
import math
from typing import Any, cast

import torch

from copyfold import catalogue, runs
from copyfold.data import Photos, Stream
from copyfold.errors import DataError, UsageError, of_model, option
from copyfold.models.base import Autoencoder
from copyfold.models.checks import check_reloadable
from copyfold.objectives.base import Objective
from copyfold.training.plan import Plan
from copyfold.training.solving import check_solvable

log = logging.getLogger("copyfold")

LOOKED, VALUES = 64, 2**22  # training images that an objective looks at before training, and values of them all

_AS = {Autoencoder: "UNet(photos.shape)", Objective: "Classical()"}


def check_kinds(model: Autoencoder, objective: Objective) -> None:
    """UsageError for what is no model or objective at all."""
    for thing, base in ((model, Autoencoder), (objective, Objective)):
        if not isinstance(thing, base):
            raise UsageError(f"{thing!r} is invalid: expected an instance of {base.__name__}, as in {_AS[base]}")


def check(model: Autoencoder, objective: Objective, photos: Photos | Stream, plan: Plan) -> None:
    """UsageError, before training, for what would fail later or could not be read back."""
    if model.shape != tuple(photos.shape):
        raise UsageError(
            f"the model is for images of {model.shape} (channels, height, width), the photos are "
            f"{tuple(photos.shape)}: make it for photos.shape"
        )
    check_reloadable(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(f"{type(model).__name__} has no weights that can be trained")
    if isinstance(photos, Photos) and photos.whole:
        raise UsageError("photos read with whole=True hold nothing out: train on Photos(...) without it")
    if getattr(photos, "missing", False) and not getattr(objective, "leaves_out", False):
        raise DataError(
            "pixels of the photos are missing, as masks= (--masks PATH) or NaN say, and the objective compares "
            "them all: leave them out by Classical(fidelity=Observed()) (--objective.fidelity Observed), or set "
            "them to a number"
        )
    objective.check(model)
    _check_objective(objective, model)
    if plan.solve:
        check_solvable(model, objective, photos)
    if plan.recompute and model.has_statistics and model.statistics == "running":
        raise UsageError(
            f"recompute is invalid with running averages, which change: give {of_model('statistics', 'batch')}"
        )
    if plan.compile and any(penalty.differentiates for penalty in getattr(objective, "penalties", ())):
        raise UsageError(
            "compile is invalid with a penalty on a gradient, which needs second derivatives: leave out compile"
        )
    if plan.patience is not None and not len(photos.held_out):
        raise UsageError("patience needs held-out images, and there are none: give more images")
    count = min(plan.batch, len(photos))
    if count % (plan.world * plan.accumulate):
        raise UsageError(
            f"{count} images are fewer than a batch and cannot be shared: give a {option('batch')} of fewer images"
        )


def warn(objective: Objective, photos: Photos | Stream, seed: int) -> None:
    """Log what the objective doubts about the images, by a sample of those to train on."""
    if type(objective).doubt is Objective.doubt:  # no image is read
        return
    count = max(1, min(LOOKED, VALUES // math.prod(photos.shape)))
    if said := objective.doubt(photos.sample("train", count, seed).images):
        log.warning("%s", said)


def check_resumed(run: runs.Run, plan: Plan) -> None:
    """Refuse to resume by steps what was solved, or the other way round; a new or cleared run is neither."""
    if not (run.folder / "recipe.yaml").is_file():
        return
    solved = bool(run.recipe.get("solve"))
    if solved != plan.solve:
        ways = ("trained by steps", "solved")
        raise UsageError(
            f"{run.folder} was {ways[solved]} and cannot be {ways[plan.solve]} "
            f"from there: give another {option('run')}, or "
            f"start again with {option('overwrite', True)}"
        )


def _check_objective(objective: Objective, model: Autoencoder) -> None:
    """UsageError where recipe.yaml could not describe an objective correctly, or where it fails on two images.

    Only an objective with a user's own class in it is tried on images.
    """
    described = catalogue.describe(objective)
    again = catalogue.describe(catalogue.build(Objective, described))
    if again != described:
        raise UsageError(
            f"{type(objective).__name__} rebuilt from its stored arguments, {described}, is {again}: store every "
            "argument of the constructor unchanged, under its name"
        )
    if not catalogue.foreign(described):
        return
    x = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))
    training, name = model.training, type(objective).__name__
    try:
        with torch.random.fork_rng(devices=[]), model.using("running"):
            terms = objective(model.eval(), x)
    except UsageError:
        raise
    except Exception as error:  # a user's own class may raise anything
        raise UsageError(f"{name} failed on 2 images: {type(error).__name__}: {error}") from error
    finally:
        model.train(training)
    found: Any = terms
    if not isinstance(found, dict):
        raise UsageError(f"{name} returned {found!r}: expected its terms by name, scalar tensors")
    for term, value in cast(dict[str, Any], found).items():
        if not isinstance(value, torch.Tensor) or value.shape:
            said = f"a tensor of {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r}"
            raise UsageError(f"{term} returned {said}: expected a scalar tensor, averaged over the batch")
