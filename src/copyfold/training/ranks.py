"""Which of several processes this one is."""

import os

from copyfold.errors import UsageError
from copyfold.training.plan import Plan

BY_HAND = ("bash", "interactive")  # names of SLURM's jobs in which a user types, and srun starts nothing


def rank(plan: Plan) -> int:
    """The number of this process among those of a plan: 0 for the first, which alone writes.

    torchrun says it in RANK, SLURM's srun in SLURM_PROCID; where Lightning starts the processes of one machine,
    it says it in LOCAL_RANK. UsageError where another number of processes was started than the plan has.
    """
    found = os.environ
    if "TORCHELASTIC_RUN_ID" in found:
        _compare("torchrun", int(found["WORLD_SIZE"]), int(found["LOCAL_WORLD_SIZE"]), plan)
        return int(found["RANK"])
    if plan.world == 1:
        return 0
    if "SLURM_NTASKS" in found and found.get("SLURM_JOB_NAME") not in BY_HAND:
        tasks = int(found["SLURM_NTASKS"])
        _compare("SLURM", tasks, int(found.get("SLURM_NTASKS_PER_NODE", tasks // plan.nodes)), plan)
        return int(found["SLURM_PROCID"])
    if plan.nodes > 1:
        raise UsageError(
            f"--nodes {plan.nodes} trains on several machines, on each of which torchrun or SLURM's srun must "
            "start the processes: start it by one of them, or leave --nodes out"
        )
    return int(found.get("LOCAL_RANK", 0))


def _compare(starter: str, world: int, local: int, plan: Plan) -> None:
    """Refuse another number of processes than the plan has, in all or on this machine."""
    if (world, local) != (plan.world, plan.devices):
        raise UsageError(
            f"{starter} started {world} processes, {local} on each machine, and --devices {plan.devices} --nodes "
            f"{plan.nodes} makes {plan.world}: give --devices as torchrun's --nproc-per-node or SLURM's "
            "--ntasks-per-node, and --nodes as the number of machines"
        )
