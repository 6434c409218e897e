"""Commands killed at every kind of moment: what they leave is whole or absent, and the same command ends the work.

    python tests/killing.py [--kills 2] [--only NAME]

A command runs in a copy of a small folder, in a process that was forked from one with everything imported. It is
killed when it is about to change the disk for the nth time (an open for writing, a rename, a deletion, a new
folder, and the listing of a folder that comes before a temporary file), or a random while later, by SIGKILL and
SIGTERM in turn. Then every file that has its name is read to its end, and compared with one of an uninterrupted
command. The same command again ends with exit code 0 and with all results, and the hidden files of the killed one
are gone. Printed is a line of JSON for each command: how many kills, and what is wrong.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fuzzing
from copyfold.cli import main

MOST_LATER = 0.05  # seconds from an event to a kill
QUICK = ["--size", "8", "--limit", "24", "--epochs", "1", "--threads", "1", "--no-pictures", "--batch", "8"]
COMMANDS: dict[str, list[str]] = {  # each writes into OUT, and nothing elsewhere but the cache
    "film gif": ["sample", "run", "--sampler.steps", "4", "--count", "2", "--out", "OUT/film.gif"],
    "film mp4": ["sample", "run", "--sampler.steps", "4", "--count", "2", "--out", "OUT/film.mp4"],
    "embed": ["embed", "run", "images", "--out", "OUT/codes.parquet"],
    "outliers": [
        "outliers", "run", "images", "--rate", "0.5", "--normal", "normal.npy", "--out", "OUT/odd.csv", "--marks",
        "OUT/marks",
    ],
    "restore": [
        "restore", "conv", "images/a.png", "--problem", "Missing", "--ascent.steps", "2", "--out", "OUT/a.png"
    ],
    "denoise": ["denoise", "conv", "images/a.png", "images/b.jpg", "images/f.tif", "--out", "OUT/clean"],
    "report": ["report", "run", "normal.npy", "--out", "OUT/report.html"],
    "export torch": ["export", "run", "--format", "torch", "--out", "OUT/model.pt2"],
    "export onnx": ["export", "run", "--out", "OUT/model.onnx"],
    "push": ["push", "run", "a/b", "--out", "OUT/shown"],
    "study": ["study", "copies", "--import", "mine.py", "--out", "OUT"],
    "again": ["train", "images", *QUICK, "--model", "MLP", "--run", "OUT/run", "--overwrite"],
}  # fmt: skip
BEFORE = {"again": [word for word in COMMANDS["again"] if word != "--overwrite"]}
"""Commands that are run before those that are killed, to the end."""
FRESH = {"push"}
"""Commands that write to an empty folder only: what a killed one left is deleted before they are repeated."""
MINE = '''
from dataclasses import dataclass
from typing import ClassVar

import copyfold as cf
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import Below, Finding, Study


@dataclass(frozen=True)
class Copies(Study):
    """A small network learns to copy."""

    claim: ClassVar[str] = "example"
    place: ClassVar[str] = "no text"
    means: ClassVar[dict[str, str]] = {}
    error: Below = Below(0.1)

    def measure(self, lab):
        photos = lab.photos("landscapes")
        x = lab.images(photos)[:4]

        def look(seed):
            model = lab.trained(lambda shape: cf.MLP(shape, hidden=[8], latent_dim=4), photos, seed)
            return Reading({"error": cf.measures.mse(model(x), x)}, {"copies": model(x).clamp(0, 1)})

        found = lab.by_seed(look)
        copies = found[0].images["copies"]
        return Finding(
            {"error": statistics.mean([reading.numbers["error"] for reading in found])},
            {"copies": copies},
            {"film": iter([copies, 1 - copies, copies])},
        )
'''


# ---------------------------------------------------------------- whole files


def frames(file: Path) -> int:
    """The frames of a film, all decoded."""
    import av

    with av.open(str(file)) as container:
        return sum(1 for _ in container.decode(video=0))


def rows(file: Path) -> int:
    """The rows of a table, all read."""
    from pyarrow import parquet

    return len(parquet.read_table(file))


def lines(file: Path) -> int:
    """The lines of a text, the last of which ends; of a log its last step, as one that stopped has a row more."""
    text = file.read_text()
    assert text.endswith("\n")
    if text.startswith("epoch,step,"):
        return int(float(text.splitlines()[-1].split(",")[1]))
    return text.count("\n")


def page(file: Path) -> int:
    """A page, which ends."""
    assert file.read_text().rstrip().endswith("</html>")
    return 0


def keys(file: Path) -> list[str]:
    """The keys of an object in JSON."""
    return sorted(json.loads(file.read_text()))


def picture(file: Path) -> tuple[int, int]:
    """The size of a picture, decoded."""
    from PIL import Image

    with Image.open(file) as image:
        image.load()
        return image.size


def tensors(file: Path) -> list[str]:
    """The names of weights, all read."""
    from safetensors.torch import load_file

    return sorted(load_file(file))


def checkpoint(file: Path) -> list[str]:
    """What a checkpoint has."""
    import torch

    return sorted(torch.load(file, weights_only=True))


def program(file: Path) -> int:
    """A program of torch.export, which can be loaded."""
    import torch

    torch.export.load(file)
    return 0


def session(file: Path) -> int:
    """A network in ONNX, which can be loaded."""
    import onnxruntime

    return len(onnxruntime.InferenceSession(file).get_inputs())


READERS: dict[str, Callable[[Path], Any]] = {
    ".gif": frames, ".mp4": frames, ".parquet": rows, ".csv": lines, ".html": page, ".json": keys, ".png": picture,
    ".jpg": picture, ".tif": picture, ".pt2": program, ".onnx": session, ".safetensors": tensors, ".md": lines,
    ".yaml": lines, ".ckpt": checkpoint, ".py": lines,
}  # fmt: skip


def results(out: Path) -> dict[str, Any]:
    """Every file that has its name, by its path, and what was read in it."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    found = {}
    for file in files:
        try:
            found[str(file.relative_to(out))] = READERS[file.suffix](file)
        except Exception as error:
            found[str(file.relative_to(out))] = f"broken: {type(error).__name__}: {error}"
    return json.loads(json.dumps(found))


def leftovers(place: Path) -> list[str]:
    """Hidden files of killed processes, below a folder and in the cache beside it."""
    usual = (".lock", ".models")
    hidden = [path for path in place.rglob(".*") if not path.name.startswith(usual)]
    return sorted(str(path.relative_to(place)) for path in hidden)


# ---------------------------------------------------------------- processes


def asked(function: Callable[[], Any]) -> Any:
    """What a function gives in a process of its own: this one has computed nothing, so that it can be forked."""
    with tempfile.NamedTemporaryFile("r") as file:
        child = os.fork()
        if not child:
            code = 1
            try:
                Path(file.name).write_text(json.dumps(function()))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        return json.load(file)


class Events:
    """An audit hook that counts the changes of the disk below a folder, and acts before one of them."""

    CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.scandir", "os.truncate")

    def __init__(self, place: Path, number: int, act: Callable[[], object]) -> None:
        self.place, self.number, self.act, self.count = str(place), number, act, 0

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and bool((given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not (writes or event in self.CHANGES) or not isinstance(given[0], str | bytes | os.PathLike):
            return
        if os.path.abspath(os.fsdecode(given[0])).startswith(self.place):
            self.count += 1
            if self.count == self.number:
                self.act()


def run(
    words: list[str], place: Path, number: int = 0, later: float = 0.0, signum: int = 0
) -> tuple[int, int, str]:
    """Run a command in the folder place/w, killed at an event if one is given: exit code, events, and stderr."""
    heard, tell = os.pipe()
    child = os.fork()
    if not child:
        code = 99
        try:
            os.close(heard)
            os.chdir(place / "w")
            os.environ["COPYFOLD_CACHE"] = str(place / "cache")
            said = os.open(place / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0), os.dup2(nothing, 1), os.dup2(said, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            now = (lambda: os.write(tell, b"now")) if later else (lambda: os.kill(os.getpid(), signum))
            events = Events(place, number, now)
            sys.addaudithook(events)
            code = main(words)
            os.write(tell, b"%d" % events.count)
        except BaseException as error:
            print("Traceback", type(error).__name__, error, file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(tell)
    said = os.read(heard, 100)  # waits for the event, or for the end
    if said.startswith(b"now"):
        time.sleep(later)
        os.kill(child, signum)  # if it has ended, it waits for this process to hear of it
        said = said.removeprefix(b"now") or os.read(heard, 100)
    os.close(heard)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, int(said or 0), (place / "said").read_text(errors="replace")


def fresh(source: Path, place: Path, name: str) -> Path:
    """A copy of the folder to work in, in which nothing has been killed."""
    shutil.copytree(source, place / "w", ignore=shutil.ignore_patterns("pipe.npy"))
    (place / "w" / "mine.py").write_text(MINE)
    if name in BEFORE:
        code, _, said = run(words_of(BEFORE[name]), place)
        assert code == 0, said
    return place / "w" / "out"


def words_of(words: list[str]) -> list[str]:
    return [word.replace("OUT", "out") for word in words]


def tried(name: str, source: Path, kills: int) -> dict[str, Any]:
    """One command, uninterrupted and killed so many times: what is wrong, one line each."""
    words, rng, wrong, done = words_of(COMMANDS[name]), random.Random(name), list[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        out = fresh(source, Path(scratch), name)
        code, events, said = run(words, Path(scratch))
        assert code == 0, (name, said)
        whole = asked(partial(results, out))
        assert whole, f"{name} has written nothing"
        assert not [file for file, found in whole.items() if str(found).startswith("broken")], whole
    for number in range(kills):
        signum = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        later = 0.0 if number % 4 in (0, 3) else rng.uniform(0.001, MOST_LATER)
        moment = 1 + int(rng.uniform(number, number + 1) * events / kills)  # as many in every part of the work
        when = f"{signal.Signals(signum).name} {later:.3f} s after event {moment} of {events}"
        with tempfile.TemporaryDirectory() as scratch:
            out = fresh(source, Path(scratch), name)
            code, _, said = run(words, Path(scratch), moment, later, signum)
            done += code != 0
            if code not in (0, -signum, 128 + signum):
                wrong.append(f"{when}: exit code {code}: {said[-300:]}")
            wrong += judged(when, {} if name in BEFORE else whole, asked(partial(results, out)))
            wrong += repeated(when, name, Path(scratch), whole)
    return {"name": name, "events": events, "kills": done, "wrong": wrong}


def judged(when: str, whole: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is wrong with the files that a killed command has left: each is whole, as in an uninterrupted one."""
    wrong: list[str] = []
    for file, said in found.items():
        if str(said).startswith("broken"):
            wrong.append(f"{when}: {file}: {said}")
        elif file in whole and said != whole[file]:
            wrong.append(f"{when}: {file} is {said}, not {whole[file]}")
    return wrong


def repeated(when: str, name: str, place: Path, whole: dict[str, Any]) -> list[str]:
    """What is wrong with the same command, run again where one was killed."""
    out = place / "w" / "out"
    if name in FRESH:
        shutil.rmtree(out, ignore_errors=True)
    code, _, said = run(words_of(COMMANDS[name]), place)
    wrong: list[str] = []
    if code:
        wrong.append(f"{when}: the same command again ends with {code}: {said[-300:]}")
    elif (found := asked(partial(results, out))) != whole:
        wrong.append(f"{when}: the same command again has made {found}, not {whole}")
    if left := leftovers(place):
        wrong.append(f"{when}: left over are {left}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--only", choices=COMMANDS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        os.environ["COPYFOLD_CACHE"] = f"{scratch}/cache"

        def prepare() -> None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1), os.dup2(null, 2)
            fuzzing.prepared(source)

        asked(prepare)
        fuzzing.everything()
        for name in [chosen.only] if chosen.only else COMMANDS:
            print(json.dumps(tried(name, source, chosen.kills)), flush=True)
