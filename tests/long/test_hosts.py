"""Two machines, which are network namespaces with a cable between them, train together with torchrun."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import copyfold as cf

OPTIONS = ["--size", "16", "--limit", "400", "--batch", "16", "--epochs", "8", "--threads", "1"]
OPTIONS += ["--precision", "32", "--optimizer", "Adam", "--schedule", "constant"]
OPTIONS += ["--model.width", "8", "--model.depth", "2", "--model.norm", "group"]
SAVING = ("--save_steps", "5", "--keep", "2")
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "cable",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # else a restart waits for the processes before it
}
ADDRESSES = ("10.77.0.1", "10.77.0.2")
BOUND = 120  # seconds, in which a training whose process died ends on both machines
PATIENCE = 300  # seconds for a start, for other programs may be on the same cores


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two namespaces, each with an end of one cable; both are gone afterwards, and the cable with them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need the command ip and the rights of root")
    names = [f"copyfold-{os.getpid()}-{number}" for number in range(2)]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip(
                "link",
                "add",
                "cable",
                "netns",
                names[0],
                "type",
                "veth",
                "peer",
                "name",
                "cable",
                "netns",
                names[1],
            )
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def job(hosts: list[str], *folders: Path, more: tuple[str, ...] = (), restarts: int = 0) -> Iterator[list[Any]]:
    """The same training on both machines, each by its torchrun; no process is left whatever happens."""
    agents = []
    try:
        for number, (name, address) in enumerate(zip(hosts, ADDRESSES, strict=True)):
            folder = folders[number % len(folders)]  # one for both, or one for each
            torchrun = [
                *("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
                *("--max-restarts", str(restarts), "--local-addr", address, "--rdzv-id", "hosts"),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400"),
                *("--rdzv-conf", f"is_host={1 - number}"),
            ]
            train = ["-m", "--", "copyfold", "train", "--run", str(folder), "--nodes", "2", *OPTIONS, *more]
            agents.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, sys.executable, *torchrun, *train],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | VARIABLES,
                )
            )
        yield agents
    finally:
        for pid in [pid for agent in agents for pid in (agent.pid, *workers(agent))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for agent in agents:
            agent.communicate()


def workers(agent: Any) -> list[int]:
    """The processes that a torchrun started and that run."""
    threads = Path(f"/proc/{agent.pid}/task").glob("*/children")
    return [int(pid) for thread in threads for pid in thread.read_text().split()]


def ended(agents: list[Any], within: float = PATIENCE) -> str:
    """What both machines said; each has ended when all of its processes have let go of their stderr."""
    end = time.monotonic() + within
    return "\n".join(agent.communicate(timeout=max(1.0, end - time.monotonic()))[1] for agent in agents)


def reached(agents: list[Any], folder: Path, step: int) -> None:
    """Wait until a checkpoint of that step or a later one is there."""
    begin = time.monotonic()
    while not any(int(path.stem[5:]) >= step for path in (folder / "checkpoints").glob("step-*.ckpt")):
        assert all(agent.poll() is None for agent in agents), ended(agents)
        assert time.monotonic() - begin < PATIENCE
        time.sleep(0.005)


def done(hosts: list[str], folder: Path, *more: str) -> None:
    with job(hosts, folder, more=more) as agents:
        said = ended(agents)
        assert [agent.returncode for agent in agents] == [0, 0], said


def one(folder: Path, *more: str) -> Path:
    """The run of one process on one machine."""
    command = [sys.executable, "-m", "copyfold", "train", "--run", str(folder), *OPTIONS, *more]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | VARIABLES, timeout=PATIENCE)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that computes its batches in two parts, which gives the bits of two processes."""
    return one(tmp_path_factory.mktemp("parts") / "run", "--accumulate", "2")


def same(one: Path, two: Path) -> None:
    """Weights and optimiser are equal, bit for bit, and so are the losses on held-out images."""
    a, b = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, two))
    assert all(torch.equal(tensor, b["state_dict"][name]) for name, tensor in a["state_dict"].items())
    moments, others = (state["optimizer_states"][0]["state"] for state in (a, b))
    for key, moment in moments.items():
        assert all(torch.equal(tensor, others[key][name]) for name, tensor in moment.items())
    lost, found = (cf.runs.open(folder).series("held_out_loss") for folder in (one, two))
    assert lost == found


def kept(folder: Path) -> list[dict[str, float]]:
    """The rows up to the last checkpoint, with their seconds: a training from scratch has others."""
    step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert step > 0
    return [row for row in cf.runs.open(folder).history if row["step"] <= step]


def test_two_hosts_have_the_loss_of_one_process(hosts, parts, tmp_path):
    """To rounding, which Adam makes more of after an epoch; to the bit where one sums in two parts."""
    folder, alone = tmp_path / "run", one(tmp_path / "alone")
    done(hosts, folder)
    same(parts, folder)
    for a, b in list(zip(cf.runs.open(alone).history, cf.runs.open(folder).history, strict=True))[:1]:
        for name in ("loss", "mse", "held_out_loss", "held_out_mse"):
            assert b[name] == pytest.approx(a[name], rel=2e-6), name


def test_a_killed_process_ends_both_hosts_and_a_resume_goes_on(hosts, parts, tmp_path):
    folder = tmp_path / "run"
    with job(hosts, folder, more=SAVING) as agents:
        reached(agents, folder, 30)
        (victim,) = workers(agents[1])
        os.kill(victim, signal.SIGKILL)
        said = ended(agents, BOUND)
        assert all(agent.returncode != 0 for agent in agents), said
    before = kept(folder)
    assert before
    done(hosts, folder, "--resume")
    assert cf.runs.open(folder).history[: len(before)] == before
    same(parts, folder)


@pytest.mark.parametrize("host", [0, 1])
def test_a_killed_process_is_started_again_by_torchrun(host, hosts, parts, tmp_path):
    folder = tmp_path / "run"
    with job(hosts, folder, more=(*SAVING, "--resume"), restarts=1) as agents:
        reached(agents, folder, 30)
        (victim,) = workers(agents[host])
        os.kill(victim, signal.SIGKILL)
        said = ended(agents)
        assert [agent.returncode for agent in agents] == [0, 0], said
    same(parts, folder)


def test_hosts_without_a_shared_folder_are_refused(hosts, tmp_path):
    """Otherwise one would resume from a checkpoint, and the other start from scratch."""
    folders = [tmp_path / "first", tmp_path / "second"]
    with job(hosts, folders[0], more=SAVING) as agents:
        reached(agents, folders[0], 30)
    with job(hosts, *folders, more=("--resume",)) as agents:
        said = ended(agents, BOUND)
        assert all(agent.returncode != 0 for agent in agents), said
    assert "a folder that all machines share" in said
