"""What is said at the end of a training, and written beside it."""

import inspect
import logging
import math

from copyfold import runs
from copyfold.corruptions import Clean
from copyfold.data import Photos, Stream
from copyfold.data.sampling import EVALUATED
from copyfold.errors import of_model, option
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Classical, Objective
from copyfold.probes.latent import code_warnings
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.plan import GRACE, Plan
from copyfold.training.solving import above_pca
from copyfold.training.state import TrainState
from copyfold.training.symptoms import COMPONENTS, jumps, not_learned, overfitting, pca_left, relapse

log = logging.getLogger("copyfold")

SMALLEST = 32  # pixels of a side: smaller images are hardly photographs any more
VALUES = 2**23  # of pixels, that PCA is fitted on and tried on


def close(
    run: runs.Run,
    plan: Plan,
    objective: Objective,
    photos: Photos | Stream,
    state: TrainState,
    metrics: MetricsLog,
) -> None:
    """Log the final numbers and what is wrong, if anything; write the statistics of each unit to codes.json."""
    penalties = objective.penalties if isinstance(objective, Classical) else ()
    rows, codes = metrics.rows, metrics.codes
    outside = rows[-1].get("held_out_outside", 0.0) if rows else 0.0
    if codes:
        run.write_finding("codes.json", {name: value.tolist() for name, value in codes.items()})
    unstable = relapse(rows, plan.lr) or jumps(rows, plan.lr)
    log.info("%s", _ended(rows[-1]) if rows else "no step was trained")
    for sentence in [  # as warnings, which Python shows where nobody has set up logging
        *_guarded(plan, state, plan.last(metrics.length)),
        *(unstable or overfitting(rows) or _not_learned(rows, objective, photos, state)),
        *code_warnings(codes, any(penalty.sparse for penalty in penalties)),
    ]:
        log.warning("%s", sentence)
    above = [] if state.clock.signum else above_pca(state.model, objective, photos)
    for sentence in (*code_warnings({}, outside=outside), *above):
        log.info("%s", sentence)


def _ended(row: runs.Row) -> str:
    """Steps, epochs, seconds, loss, and the errors on training and held-out images at the end, in one line."""
    step, epoch, seconds = row["step"], row["epoch"], row["seconds"]
    numbers = {"loss": row.get("loss"), "error per pixel": row.get("mse"), "held out": row.get("held_out_mse")}
    said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items() if value is not None)
    counted = f"trained {step:,.0f} step{'s' * (step != 1)}, {epoch:.4g} epoch{'s' * (epoch != 1)}"
    return f"{counted}, in {seconds:,.1f} seconds" + (said and f": {said}")


def _guarded(plan: Plan, state: TrainState, last: int | None) -> list[str]:
    """A warning where the clock ended a plan of steps before its end."""
    if plan.steps is None or plan.limit is None or last is None or state.step >= last:
        return []
    if state.clock.seconds < 60 * plan.limit:
        return []
    return [
        f"stopped at step {state.step:,} of {last:,}: {GRACE} times the {plan.minutes:g} minutes are over, and "
        "the machine was slower than the plan expects; go on with "
        f"{option('resume', True)} and more {option('minutes')}"
    ]


def _not_learned(
    rows: list[runs.Row], objective: Objective, photos: Photos | Stream, state: TrainState
) -> list[str]:
    """A warning where it does not copy yet, if it is trained for nothing else and no signal stopped it."""
    plain = (
        isinstance(objective, Classical) and isinstance(objective.corruption, Clean) and not objective.penalties
    )
    count = min(EVALUATED, VALUES // math.prod(photos.shape))
    if not plain or photos.missing or state.clock.signum or min(len(photos.held_out), count) < 2:
        return []
    held_out, training = (photos.sample(which, count).images for which in ("held_out", "train"))
    numbers = sum(math.prod(shape) for shape in state.model.code_shapes())
    few = numbers < min(len(training), math.prod(photos.shape))
    components = numbers if few else min(COMPONENTS, len(training) - 1)
    variance, linear = pca_left(training, held_out, components)
    return not_learned(rows, variance, components, linear, few, _smaller(state.model, photos))


def _smaller(model: Autoencoder, photos: Photos | Stream) -> list[str]:
    """The options of which less makes steps faster: the size, where it is no thumbnail yet; a width."""
    core = getattr(model, "core", model)
    found = [option("size" if photos.crop is None else "crop")] if min(photos.shape[1:]) > SMALLEST else []
    return found + [of_model("width")] * ("width" in inspect.signature(type(core)).parameters)
