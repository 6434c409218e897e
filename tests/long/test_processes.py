"""Several processes on one machine train as one process does, and resume exactly after any stop."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import copyfold as cf

OPTIONS = ["--size", "16", "--limit", "400", "--batch", "16", "--epochs", "8"]
OPTIONS += ["--threads", "1", "--precision", "32", "--optimizer", "Adam", "--schedule", "constant"]
UNET = ["--model.width", "8", "--model.depth", "2", "--model.norm"]
GROUP = [*UNET, "group"]
TWO = ["--devices", "2"]
ITSELF = ["-m"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
RESTARTED = [*TORCHRUN[:-2], "--max-restarts", "1", "-m", "--"]
SAVING = ["--save_steps", "5", "--keep", "2"]
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # else a restart waits for the processes before it
BOUND = 60  # seconds, in which a training whose process died ends
PATIENCE = 300  # seconds for a start, for other programs may be on the same cores


@contextmanager
def job(folder: Path, *more: str, by: list[str] = ITSELF, **variables: str) -> Iterator[Any]:
    """A training as a user starts it, of which no process is left whatever happens."""
    command = [sys.executable, *by, "copyfold", "train", "--run", str(folder), *OPTIONS, *more]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        workers = children(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for worker in workers:  # those of torchrun have sessions of their own
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        process.communicate()


def children(process: Any) -> list[int]:
    """The processes that it started and that run, in the order of their ranks."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    return sorted(int(pid) for thread in threads for pid in thread.read_text().split())


def ended(process: Any, within: float = PATIENCE) -> str:
    """What a training said; it has ended when all of its processes have let go of their stderr."""
    return process.communicate(timeout=within)[1]


def reached(process: Any, folder: Path, step: int) -> None:
    """Wait until a checkpoint of that step or a later one is there."""
    begin = time.monotonic()
    while not any(int(path.stem[5:]) >= step for path in (folder / "checkpoints").glob("step-*.ckpt")):
        assert process.poll() is None, ended(process)
        assert time.monotonic() - begin < PATIENCE
        time.sleep(0.005)


def done(folder: Path, *more: str, by: list[str] = ITSELF) -> Path:
    """A training that nobody stops."""
    with job(folder, *more, by=by) as process:
        said = ended(process)
        assert process.returncode == 0, said
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run of some options, trained once."""
    runs: dict[tuple[str, ...], Path] = {}

    def trained(*options: str) -> Path:
        if options not in runs:
            runs[options] = done(tmp_path_factory.mktemp("runs") / "run", *options)
        return runs[options]

    return trained


@pytest.fixture(scope="module")
def whole(trained: Callable[..., Path]) -> Path:
    """Two processes that nobody stopped."""
    return trained(*GROUP, *TWO)


def rows(folder: Path) -> list[dict[str, float]]:
    """The log, without what depends on the clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in cf.runs.open(folder).history]


def difference(one: Path, two: Path, epochs: int) -> float:
    """The largest relative difference of the losses in the first rows of two logs."""
    names = ("loss", "mse", "held_out_loss", "held_out_mse")
    pairs = list(zip(rows(one), rows(two), strict=True))[:epochs]
    return max(abs(a[name] / b[name] - 1) for a, b in pairs for name in names)


def same(one: Path, two: Path) -> None:
    """Weights and optimiser are equal, bit for bit; not the averages of norms, which nothing in training reads."""
    a, b = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, two))
    assert a["global_step"] == b["global_step"]
    for name, tensor in a["state_dict"].items():
        assert "running" in name or torch.equal(tensor, b["state_dict"][name]), name
    moments, others = (state["optimizer_states"][0]["state"] for state in (a, b))
    assert moments.keys() == others.keys()
    for key, moment in moments.items():
        assert all(torch.equal(tensor, others[key][name]) for name, tensor in moment.items()), key


def logged(one: Path, two: Path) -> None:
    """The logs are equal, training's means to the rounding of a sum that was taken in other parts."""
    for a, b in zip(rows(one), rows(two), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name] == b[name] if name.startswith("held_out") else a[name] == pytest.approx(b[name], 1e-6)


def kept(folder: Path) -> list[dict[str, float]]:
    """The rows up to the last checkpoint, with their seconds: a training from scratch has others."""
    step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert step > 0
    return [row for row in cf.runs.open(folder).history if row["step"] <= step]


# --- as one process


@pytest.mark.parametrize("norm", ["none", "group"])
def test_two_processes_have_the_loss_of_one(norm, trained):
    """In training, by the means over both, and on held-out images.

    A sum of two halves rounds otherwise than one sum. That is 1e-7 to 2e-7 after the 25 steps of an epoch; later
    it grows, on some machines soon, as does a change of the first weights by their last bit in one process
    (docs/many.md): hence one epoch.
    """
    one, two = trained(*UNET, norm), trained(*UNET, norm, *TWO)
    assert len(rows(one)) == 8
    assert all(a.keys() == b.keys() for a, b in zip(rows(one), rows(two), strict=True))
    assert difference(one, two, epochs=1) < 2e-6


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_two_processes_equal_one_process_with_two_accumulated_parts(norm, trained):
    """The same sums of the same numbers, in the same order: equal bits after 200 steps."""
    parts, two = trained(*UNET, norm, "--accumulate", "2"), trained(*UNET, norm, *TWO)
    same(parts, two)
    if norm != "batch":  # whose recorded averages are seen there
        for a, b in zip(rows(parts), rows(two), strict=True):
            held_out = [name for name in a if name.startswith("held_out")]
            assert [a[name] for name in held_out] == [b[name] for name in held_out]
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-6)


def test_synchronised_batch_norm_is_closer_to_one_process(trained):
    """Not to the last digit, since their sums round otherwise: the test in float64 says that they are right."""
    one, two = trained(*UNET, "batch"), trained(*UNET, "batch", *TWO)
    synchronised = trained(*UNET, "batch", *TWO, "--sync")
    assert difference(one, synchronised, epochs=1) < difference(one, two, epochs=1) / 5


NORMS = """
import sys, torch
from copyfold.models.blocks import BatchNorm

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
norm = BatchNorm(3).double()
norm.load_state_dict(given["norm"])
norm.synchronised = True
x, w = (given[name].chunk(2)[rank].clone() for name in ("x", "w"))
x.requires_grad_()
for _ in range(3):
    y = norm(x)
(y.tanh() * w).sum().div(len(x)).backward()
parameters = {name: p.grad for name, p in norm.named_parameters()}
for gradient in parameters.values():
    torch.distributed.all_reduce(gradient)
    gradient /= 2
found = {"y": y.detach(), "x": x.grad / 2, **parameters, **dict(norm.named_buffers())}
torch.save(found, f"{folder}/found{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("shape", [(8, 3, 4, 5), (8, 3)])
def test_synchronised_batch_norm_equals_torchs_on_the_whole_batch(shape, tmp_path):
    """Outputs, gradients and recorded averages of two processes, in float64: no rounding to hide behind."""
    rng = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=rng, dtype=torch.float64) * 2 + 1 for _ in range(2))
    oracle = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3).double()
    with torch.no_grad():
        oracle.weight.copy_(torch.tensor([1.0, 2.0, -0.5]))
        oracle.bias.copy_(torch.tensor([0.1, 0.0, -1.0]))
    start = {name: value for name, value in oracle.state_dict().items() if name != "num_batches_tracked"}
    torch.save({"x": x, "w": w, "norm": start}, tmp_path / "given.pt")
    processes = [subprocess.Popen([sys.executable, "-c", NORMS, str(tmp_path), str(rank)]) for rank in range(2)]
    try:
        assert [process.wait(PATIENCE) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()

    x.requires_grad_()
    for _ in range(3):
        y = oracle(x)
    (y.tanh() * w).sum().div(len(x)).backward()
    found = [torch.load(tmp_path / f"found{rank}.pt", weights_only=True) for rank in range(2)]
    for name, expected in (("y", y), ("x", x.grad)):
        torch.testing.assert_close(torch.cat([part[name] for part in found]), expected, rtol=1e-12, atol=1e-14)
    for part in found:
        for name, parameter in oracle.named_parameters():
            torch.testing.assert_close(part[name], parameter.grad, rtol=1e-12, atol=1e-14)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(part[name], oracle.get_buffer(name), rtol=1e-12, atol=1e-14)


def test_torchrun_gives_bit_identical_weights(whole, tmp_path):
    folder = done(tmp_path / "run", *GROUP, *TWO, by=TORCHRUN)
    same(whole, folder)
    logged(whole, folder)


OWN = """
import copyfold as cf
from torch import nn

class Tiny(cf.Autoencoder):
    def __init__(self, shape, width=4):
        super().__init__(shape)
        self.width = width
        self.inward, self.outward = nn.Conv2d(shape[0], width, 2, 2), nn.ConvTranspose2d(width, shape[0], 2, 2)

    def encode(self, x):
        return self.inward(x)

    def decode(self, z):
        return self.outward(z)
"""


@pytest.mark.parametrize("by", [ITSELF, TORCHRUN], ids=["by itself", "by torchrun"])
def test_every_process_imports_the_modules_of_import(by, tmp_path):
    (tmp_path / "my_models.py").write_text(OWN)
    own = ["--import", str(tmp_path / "my_models.py"), "--model", "Tiny", "--epochs", "1"]
    recipe = cf.runs.open(done(tmp_path / "run", *own, *TWO, by=by)).recipe
    assert recipe["model"] == {"class_path": "my_models.Tiny", "init_args": {"width": 4}}
    assert recipe["devices"] == 2


# --- stopped


@pytest.mark.parametrize("target", ["first", "second"])
def test_a_signal_to_one_process_stops_all_of_them_after_saving(target, whole, tmp_path):
    folder = tmp_path / "run"
    with job(folder, *GROUP, *TWO, *SAVING) as process:
        reached(process, folder, 30)
        (second,) = children(process)
        os.kill(process.pid if target == "first" else second, signal.SIGTERM)
        said = ended(process)
        assert process.returncode == 143, said
        assert "--resume" in said
    before = kept(folder)
    assert 30 <= before[-1]["step"] < rows(whole)[-1]["step"]
    done(folder, *GROUP, *TWO, "--resume")
    assert cf.runs.open(folder).history[: len(before)] == before
    same(whole, folder)


def test_ctrl_c_which_all_processes_get_stops_them_after_saving(tmp_path):
    folder = tmp_path / "run"
    with job(folder, *GROUP, *TWO, *SAVING) as process:
        reached(process, folder, 30)
        os.killpg(process.pid, signal.SIGINT)
        said = ended(process)
        assert process.returncode == 130, said
    assert kept(folder)[-1]["step"] >= 30


@pytest.mark.parametrize("victim", ["first", "second"])
def test_when_a_process_is_killed_the_others_end_and_a_resume_goes_on(victim, whole, tmp_path):
    folder = tmp_path / "run"
    with job(folder, *GROUP, *TWO, *SAVING) as process:
        reached(process, folder, 30)
        (second,) = children(process)
        os.kill(process.pid if victim == "first" else second, signal.SIGKILL)
        said = ended(process, BOUND)
        assert process.returncode != 0, said
    before = kept(folder)
    done(folder, *GROUP, *TWO, "--resume")
    assert cf.runs.open(folder).history[: len(before)] == before
    same(whole, folder)
    logged(whole, folder)


def test_torchrun_starts_a_killed_process_again_by_itself(whole, tmp_path):
    folder = tmp_path / "run"
    with job(folder, *GROUP, *TWO, *SAVING, "--resume", by=RESTARTED, **OWN_STORE) as process:
        reached(process, folder, 30)
        (_, second) = children(process)
        os.kill(second, signal.SIGKILL)
        said = ended(process)
        assert process.returncode == 0, said
    same(whole, folder)
    logged(whole, folder)


# --- wrong use


def test_an_indivisible_batch_is_an_error_of_one_line(tmp_path):
    with job(tmp_path / "run", *GROUP, *TWO, "--batch", "15") as process:
        said = ended(process)
    assert process.returncode == 2
    assert said.splitlines() == [
        "copyfold: a batch of 15 images cannot be shared by 2 devices in 1 parts: give a --batch that is a "
        "multiple of 2"
    ]
    assert not (tmp_path / "run").exists()


def test_a_number_of_devices_other_than_torchruns_is_refused(tmp_path):
    with job(tmp_path / "run", *GROUP, by=TORCHRUN) as process:
        said = ended(process)
    assert process.returncode != 0
    assert re.search(
        "^copyfold: torchrun started 2 processes.* --devices 1 --nodes 1 makes 1: give --devices", said, re.M
    )
    assert not (tmp_path / "run").exists()


def test_several_nodes_without_a_launcher_are_refused(tmp_path):
    with job(tmp_path / "run", *GROUP, "--nodes", "2") as process:
        said = ended(process)
    assert process.returncode == 2
    assert said.startswith("copyfold: --nodes 2 trains on several machines")
    assert not (tmp_path / "run").exists()


WATCHED = """
import os, sys
import copyfold as cf
from copyfold.data import Photos, scenes

def look(event, state):
    print(event, state.step, os.environ.get("LOCAL_RANK", "0"), flush=True)
    if state.step == 12:
        state.stop()

if __name__ == "__main__":
    photos = Photos(scenes(60, size=8, channels=1), 8)
    options = {"batch": 8, "precision": "32", "devices": 2, "threads": 1}
    cf.fit(cf.Linear(photos.shape, 4), None, photos, sys.argv[1], epochs=40, callbacks=[look], **options)
"""


def test_callbacks_are_called_in_the_first_process_and_can_stop_both(tmp_path):
    (tmp_path / "watched.py").write_text(WATCHED)
    command = [sys.executable, str(tmp_path / "watched.py"), str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert {rank for *_, rank in told} == {"0"}
    assert [int(step) for event, step, _ in told if event == "step"] == [*range(1, 13)]
    assert told[-1][:2] == ["end", "12"]
    assert cf.runs.open(tmp_path / "run").history[-1]["step"] == 12
