"""Which of several processes this one is."""

import os

from copyfold.errors import UsageError
from copyfold.training.plan import Plan

STARTED = "WORLD_SIZE"  # set by torchrun


def rank(plan: Plan) -> int:
    """The number of this process among those of a plan: 0 for the first, which alone writes.

    torchrun and SLURM say it in RANK and SLURM_PROCID; where Lightning starts the processes of one machine, it
    says it in LOCAL_RANK. UsageError where torchrun started another number of processes than the plan has.
    """
    started = os.environ.get(STARTED) if "TORCHELASTIC_RUN_ID" in os.environ else None
    if started is not None and int(started) != plan.world:
        raise UsageError(
            f"torchrun started {started} processes, and --devices {plan.devices} --nodes {plan.nodes} makes "
            f"{plan.world}: give --devices as torchrun's --nproc-per-node, and --nodes as its --nnodes"
        )
    if plan.world == 1:
        return 0
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
