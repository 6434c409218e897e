"""What a checkpoint must be for a training to go on from it."""

import logging

from copyfold.errors import UsageError
from copyfold.training.keeper import Keeper, WholeFiles
from copyfold.training.patience import Patience

log = logging.getLogger("copyfold")


def finished(keeper: Keeper) -> bool:
    """Whether the last checkpoint, which the model takes on, is already where the plan ends.

    UsageError where training cannot go on from it: it is of another model, or of other images.
    """
    path, plan = keeper.run.checkpoint, keeper.plan
    state = WholeFiles().load_checkpoint(path, map_location="cpu")
    try:
        keeper.model.load_state_dict({k.removeprefix("model."): v for k, v in state["state_dict"].items()})
        kept = state["callbacks"][keeper.state_key]
        step, seconds, batches = state["global_step"], kept["seconds"], kept["batches"]
        averaged = "averaging_state" in state
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is no checkpoint of copyfold's: start anew with --overwrite") from None
    except RuntimeError:
        raise UsageError(
            f"{path} is of another model: leave out --model to go on with it, or start anew with --overwrite"
        ) from None
    if batches != len(keeper.source):
        raise UsageError(
            f"{path} is of epochs of {batches} batches, and these images make {len(keeper.source)}: go on "
            "with the same images, --limit and --batch, or start anew with --overwrite"
        )
    if averaged != (plan.average is not None):
        raise UsageError(
            f"{path} has {'an' if averaged else 'no'} average of the weights: go on "
            f"{'with' if averaged else 'without'} --average, or start anew with --overwrite"
        )
    ends = {"epochs": (step / len(keeper.source), plan.epochs), "minutes": (seconds / 60, plan.minutes)}
    if plan.patience is not None:
        waited = state["callbacks"].get(Patience(1).state_key, {}).get("wait_count", 0)
        ends["patience"] = (waited, plan.patience)
    for name, (done, planned) in ends.items():
        if planned is not None and done >= planned:
            log.info("%s is finished already: give more --%s than %g to go on", keeper.run.folder, name, planned)
            return True
    return False
