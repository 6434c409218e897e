"""Distributed training: the rank of this process, and the launch of all processes by Fabric."""

import logging
import os
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from copyfold.errors import UsageError
from copyfold.runs import Run
from copyfold.training.plan import Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
NUMBERS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # those that Fabric reads when imported
INTERACTIVE = ("bash", "interactive")  # names of interactive SLURM jobs, in which srun did not start this process


def rank(plan: Plan) -> int:
    """The number of this process among those of a plan: 0 for the first, which alone writes.

    torchrun says it in RANK, SLURM's srun in SLURM_PROCID; where Fabric starts the processes of one machine,
    it says it in LOCAL_RANK. UsageError where another number of processes was started than the plan has, or one
    of `NUMBERS` is none.
    """
    found = os.environ
    for name in NUMBERS:
        if name in found:
            _number(name)
    if "TORCHELASTIC_RUN_ID" in found:
        _compare("torchrun", _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE"), plan)
        return _number("RANK")
    if plan.world == 1:
        return 0
    if "SLURM_NTASKS" in found and found.get("SLURM_JOB_NAME") not in INTERACTIVE:
        tasks = _number("SLURM_NTASKS")
        each = _number("SLURM_NTASKS_PER_NODE") if "SLURM_NTASKS_PER_NODE" in found else tasks // plan.nodes
        _compare("SLURM", tasks, each, plan)
        return _number("SLURM_PROCID")
    if plan.nodes > 1:
        raise UsageError(
            f"--nodes {plan.nodes} trains on several machines, on each of which torchrun or SLURM's srun must "
            "start the processes: start it by one of them, or leave --nodes out"
        )
    return _number("LOCAL_RANK") if "LOCAL_RANK" in found else 0


def _number(name: str) -> int:
    """A number of the environment; UsageError where it is none."""
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise UsageError(
            f"{name}={value} in the environment is invalid: expected a number, as torchrun or srun sets it; unset "
            "it to train in one process"
        )
    return int(value)


def _compare(starter: str, world: int, local: int, plan: Plan) -> None:
    """UsageError where the number of processes, in all or on this machine, is not the plan's."""
    if (world, local) != (plan.world, plan.devices):
        raise UsageError(
            f"{starter} started {world} processes, {local} on each machine, and --devices {plan.devices} --nodes "
            f"{plan.nodes} makes {plan.world}: give --devices as torchrun's --nproc-per-node or SLURM's "
            "--ntasks-per-node, and --nodes as the number of machines"
        )


@contextmanager
def launched(plan: Plan) -> "Generator[Fabric]":
    """Fabric with the devices and the precision of a plan, all of its processes started, within a with-block.

    Fabric's own log messages and warnings are hidden.
    """
    # slow to import, as it imports torch._dynamo: after all checks
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    chatty = logging.getLogger("lightning_fabric")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning_fabric.*")
            fabric = Fabric(
                accelerator="auto",
                devices=plan.devices,
                num_nodes=plan.nodes,
                strategy=DDPStrategy(gradient_as_bucket_view=True) if plan.world > 1 else "auto",
                precision=PRECISIONS[plan.precision],  # type: ignore[arg-type]
                # Else one process in an allocation of SLURM's would be asked to be one of its tasks
                plugins=LightningEnvironment() if plan.world == 1 else None,
            )
            fabric.launch()
            yield fabric
    except BaseException as error:
        # what an error's frames hold of other processes must go before the group does, or may wait for them
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        chatty.setLevel(level)
        if plan.world > 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def compare_steps(run: Run, step: int, fabric: "Fabric") -> None:
    """UsageError where one process resumes from a checkpoint that another does not see."""
    if fabric.world_size == 1:
        return
    at: Any = fabric.all_reduce(torch.tensor([step, -step], device=fabric.device), reduce_op="max")
    if at[0] != -at[1]:
        raise UsageError(
            f"{run.folder} is at step {step} for this process and at another step for others: give a folder that "
            "all machines share"
        )
