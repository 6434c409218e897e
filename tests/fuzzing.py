"""Random command lines and damaged files: whatever is given, a command ends with a result or with one line.

    python tests/fuzzing.py [--cases 200] [--seed 0] [--workers 2] [--only N] [--real]

Case N of a seed is the same wherever it is run: a copy of a small folder of runs and images, one thing
damaged, and a command that meets it. It is a process of its own, forked from one that has everything imported,
or with --real a new one as from a shell, with 20 seconds of processor time and 4 GB. It is right where it ends
with an exit code of copyfold's, and says neither "Traceback" nor that this is a bug. Printed are the cases that
are wrong, and a table.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

import numpy as np
import torch
import yaml
from PIL import Image

from copyfold.cli import main

SECONDS, IDLE, MEMORY = 20, 30, 4 << 30  # of the processor, of waiting for nothing, bytes
CODES = (0, 1, 2, 3, 4)
FAULTS = ("Traceback", "bug in copyfold", "bug in a class", "Segmentation")

NUMBERS: list[Any] = [
    0, 1, -1, 2, 3, 7, 64, 10**6, 2**31, 2**63, 10**30, -(10**20), 0.5, -0.5, 1e-30, 1e308, float("inf"),
    float("nan"), 2**70, 10**400,
]  # fmt: skip
WORDS = [
    "", " ", "x", "None", "null", "true", "no", "UNet", "Unet", "digits", "images", "./images", "run",
    "nothing", "/", "/dev/null", "/dev/zero", "pipe.npy", "~", "~nobody/x", "hf://", "hf://a/b", "a" * 300,
    "é\u202e\n", "-", "--", "[", "{}", "[1,2]", "[[1]]", "{a: b}", "1e400", "0x10", "NaN", "inf", "8x", "x8",
    "8x8", "0x0", "1,2", "*", "a;b", "$HOME", "\t",
]  # fmt: skip
FEW = ["0", "1", "2", "-1", "0.5", "nan", "x", "", "1e-9"]
"""Values of what says how long a command works; larger ones would be waited for, and rightly."""
LONG = ("epochs", "steps", "minutes", "count", "samples", "points", "save-minutes", "patience")
NEVER = ("--devices", "--nodes", "--help", "--import", "--debug", "--stream", "--run", "--budget", "--out")
"""Flags that start other processes, read the network, or write elsewhere."""


class Case(NamedTuple):
    """A kind, what was damaged, and the command that meets it."""

    kind: str
    damage: str
    arguments: list[str]


class Outcome(NamedTuple):
    """How a case ended: "" where it is right."""

    wrong: str
    code: int
    said: str
    seconds: float


# ---------------------------------------------------------------- a folder to damage


def prepared(folder: Path) -> None:
    """Runs of three kinds of models, and images in every form that is read."""
    import pyarrow as pa
    from pyarrow import parquet

    os.chdir(folder)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (12, 12, 10, 3), np.uint8)
    Path("images").mkdir()
    for k, name in enumerate(["a.png", "b.jpg", "c.webp", "d.bmp", "e.gif", "f.tif", "g.png", "h.png"]):
        Image.fromarray(colours[k]).save(f"images/{name}")
    Image.fromarray(rng.integers(0, 2**16, (12, 10)).astype(np.uint16)).save("images/deep.png")
    Image.fromarray(colours[0]).convert("P").save("images/palette.png")
    Image.fromarray(rng.random((12, 10)).astype(np.float32)).save("images/float.tif")
    np.save("array.npy", colours)
    np.save("normal.npy", rng.integers(0, 255, (48, 12, 10, 3), np.uint8))
    np.savez_compressed("arrays.npz", x_train=colours, y_train=np.arange(12) % 3, x_test=colours[:4])
    coded = []
    for image in colours:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        coded.append({"bytes": file.getvalue(), "path": None})
    Path("table").mkdir()
    parquet.write_table(pa.table({"image": coded, "label": list(np.arange(12) % 3)}), "table/train.parquet")
    rows = pa.table({"image": [image["bytes"] for image in coded], "label": [k % 3 for k in range(12)]})
    with pa.ipc.new_stream("rows.arrow", rows.schema) as stream:
        stream.write_table(rows, max_chunksize=4)
    Path("table/README.md").write_text("---\nconfigs:\n- config_name: default\n---\n")
    np.save("masks.npy", rng.random((12, 12, 10)) < 0.5)
    Image.fromarray((rng.random((12, 10)) < 0.5).astype(np.uint8) * 255).save("mask.png")
    shutil.make_archive("images", "zip", "images")
    os.mkfifo("pipe.npy")
    train = ["--size", "8", "--limit", "24", "--epochs", "1", "--threads", "1", "--no-pictures", "--batch", "8"]
    for name, model in {
        "run": ["--model", "MLP", "--model.hidden", "[8]", "--model.latent_dim", "4"],
        "conv": ["--model", "Conv", "--model.channels", "[4]", "--model.norm", "batch"],
        "vae": [
            "--model",
            "Variational",
            "--core",
            "Conv",
            "--core.channels",
            "[4]",
            "--objective.penalties",
            "[Divergence]",
        ],
    }.items():
        made = main(["train", "images", "--channels", "3", *model, *train, "--run", name])
        assert made == 0, name
    assert main(["report", "run", "normal.npy", "--out", "run/report.html"]) == 0
    for name in ("conv", "vae"):  # of the same steps
        shutil.copy("run/report.json", f"{name}/report.json")
    shutil.copytree("run", "other")


# ---------------------------------------------------------------- damage


def bytes_of(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes with something wrong, and what."""
    place, more = rng.randrange(len(data) + 1), rng.randbytes(rng.choice([1, 2, 8, 300]))
    ways: dict[str, Callable[[], bytes]] = {
        "cut": lambda: data[:place],
        "changed": lambda: data[:place] + more + data[place + len(more) :],
        "put in": lambda: data[:place] + more + data[place:],
        "left out": lambda: data[:place] + data[place + len(more) :],
        "zeros": lambda: data[:place] + bytes(len(data) - place),
        "empty": lambda: b"",
        "text": lambda: b"hello\n",
        "twice": lambda: data + data,
        "noise": lambda: rng.randbytes(rng.choice([3, 100, 5000])),
    }
    way = rng.choice(list(ways))
    return ways[way](), way


def value(rng: random.Random) -> Any:
    """A value of any type."""
    deep: Any = []
    for _ in range(rng.choice([1, 400])):
        deep = [deep]
    several: list[Any] = [rng.choice(NUMBERS)] * rng.choice([1, 3, 5000])
    if rng.random() < 0.1:
        return rng.choice(
            [torch.ones(3, dtype=torch.cfloat), torch.ones(2, 2).to_sparse(), torch.tensor(float("nan")), 1j, b"x"]
        )
    described = {"class_path": rng.choice([*WORDS, "os.system"]), "init_args": {"shape": [1, 8, 8]}}
    return rng.choice([None, True, [], {}, deep, rng.choice(NUMBERS), rng.choice(WORDS), several, described])


def tree_of(tree: Any, rng: random.Random) -> str:
    """Change a tree of dicts and lists in place somewhere; says where."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places:
        return "nothing"
    node, key = rng.choice(places)
    how = rng.choice(["delete", "replace", "replace", "add"])
    if how == "delete":
        del node[key]
    elif how == "add" and isinstance(node, dict):
        node[rng.choice(["x", "model", "data", "class_path"])] = value(rng)
    else:
        node[key] = value(rng)
    return f"{how} {str(key)[:40]}"


def plain(item: Any) -> Any:
    """What JSON and YAML can write."""
    return str(item)


def damaged(file: Path, rng: random.Random) -> str:
    """Damage one file; says how."""
    structured = {".json": json, ".yaml": yaml, ".ckpt": torch}.get(file.suffix)
    if rng.random() < 0.06:
        file.unlink()
        make = rng.choice(["gone", "folder", "pipe", "link to itself"])
        if make == "folder":
            file.mkdir()
        elif make == "pipe":
            os.mkfifo(file)
        elif make == "link to itself":
            file.symlink_to(file.name)
        return make
    if structured is None or rng.random() < 0.3:
        data, how = bytes_of(file.read_bytes(), rng)
        file.write_bytes(data)
        return how
    if file.suffix == ".ckpt":
        kept = torch.load(file, weights_only=True)
        how = tree_of(kept, rng)
        with contextlib.suppress(Exception):
            torch.save(kept, file)
        return how
    tree = yaml.safe_load(file.read_text())
    how = tree_of(tree, rng)
    with contextlib.suppress(ValueError, RecursionError, yaml.YAMLError):
        file.write_text(json.dumps(tree, default=plain) if file.suffix == ".json" else yaml.safe_dump(tree))
    return how


def odd_array(rng: random.Random) -> np.ndarray:
    """An array of a random shape and kind."""
    shape = tuple(rng.choice([0, 1, 2, 3, 4, 8, 30]) for _ in range(rng.randrange(6)))
    kind = rng.choice(["u1", "u2", "i8", "f2", "f4", "f8", "c8", "b1", "S3", "U2", "M8[s]", "V3"])
    made = (
        np.zeros(shape) if rng.random() < 0.3 else np.random.default_rng(rng.randrange(99)).normal(0.5, 1, shape)
    )
    if rng.random() < 0.2 and made.size:
        made.flat[rng.randrange(made.size)] = rng.choice([np.nan, np.inf, -5, 300])
    with np.errstate(all="ignore"):
        return np.asarray(made).astype(kind)


def odd_header(rng: random.Random) -> bytes:
    """A .npy of a few bytes with a header that is damaged, or says what is not there."""
    sides = [
        rng.choice(["0", "1", "8", "-1", "-8", "True", "1.5", "2**3", str(2**62), str(2**70)]) for _ in range(3)
    ]
    kind = rng.choice(["'|u1'", "'<f8'", "'|O'", "'|V3'", "'|V9999999999'", "'<U3'", "[('a', 'u1')]", "'?x'", "3"])
    text = f"{{'descr': {kind}, 'fortran_order': {rng.random() < 0.5}, 'shape': ({', '.join(sides)}), }}"
    text = rng.choice(
        [text, text, text, text[: rng.randrange(len(text))], "(" * rng.choice([3, 3000]), "9" * 9000]
    )
    head = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return (
        b"\x93NUMPY"
        + rng.choice([b"\1\0", b"\1\0", b"\2\0", b"\7\0"])
        + struct.pack("<H", len(head))
        + head
        + bytes(64)
    )


def odd_table(name: str, rng: random.Random) -> str:
    """Replace a table by one that says, repeats or compresses far more than it has; says what."""
    import pyarrow as pa
    from pyarrow import parquet

    image, rows = Path("images/a.png").read_bytes(), rng.choice([2, 300, 9999])
    place = pa.array(np.zeros(rows, np.int32))

    def often(value: Any) -> Any:
        return pa.DictionaryArray.from_arrays(place, pa.array([value]))

    images = {
        "images": lambda: pa.array([image] * rows),
        "one image": lambda: often(image + bytes(rng.choice([0, 10**7]))),
        "zeros": lambda: pa.array(
            [image, bytes(rng.choice([10**6, 3 * 10**8] if name.endswith(".parquet") else [10**6]))]
        ),
        "nothing": lambda: pa.nulls(rng.choice([rows, 10**7, 4 * 10**7]), rng.choice([pa.null(), pa.bool_()])),
    }
    how = rng.choice(list(images))
    table = pa.table({"image": images[how]()})
    long = 2**20 if name.endswith(".arrow") else max(1, 2**22 // len(table))  # Parquet writes a level of each null
    labels = {
        "long": lambda: often("x" * 600_000),
        "lists": lambda: pa.FixedSizeListArray.from_arrays(pa.nulls(long * len(table)), long),
        "views": lambda: pa.array(["a"] * len(table), pa.string_view()),
        "odd": lambda: pa.array([rng.choice([None, {}, {"a": 1}])] * len(table)),
        "none": lambda: pa.nulls(len(table)),
    }
    label = rng.choice(list(labels)) if len(table) in (rows, 2) else "none"
    with contextlib.suppress(pa.ArrowException):  # of another number of rows
        table = table.append_column("label", labels[label]())
    packed = rng.choice([None, "zstd"])
    with contextlib.suppress(pa.ArrowException, MemoryError):
        if name.endswith(".parquet"):
            parquet.write_table(table, name, compression=packed or "none", store_schema=rng.random() < 0.5)
        else:
            maker = rng.choice([pa.ipc.new_stream, pa.ipc.new_file])
            with maker(name, table.schema, options=pa.ipc.IpcWriteOptions(compression=packed)) as stream:
                stream.write_table(table, max_chunksize=rng.choice([None, 1]) if len(table) < 10**4 else None)
    return f"{how}, {len(table):,} rows, {label} labels, {packed}"


def odd_readme(rng: random.Random) -> str:
    """A README beside a table: YAML that unfolds, nests or says numbers without end, or a pipe."""
    file = Path("table/README.md")
    steps = range(1, rng.choice([3, 12]))
    texts = {
        "aliases": "\n".join(["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in steps)]),
        "merged": "\n".join(
            ["m0: &m0 {x: 1}", *(f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}" for k in steps)]
        ),
        "deep": "a: &a " + rng.choice(["[", "{", "- "]) * 30_000 + "*a",
        "long": f"configs: 0x{'f' * 9000}",
        "names": "configs: [{config_name: [1]}, {config_name: {}}, 3]",
    }
    how = rng.choice([*texts, "pipe"])
    if how == "pipe":
        file.unlink()
        os.mkfifo(file)
    else:
        file.write_text(f"---\nconfigs: []\n{texts[how]}\n---\n")
    return how


def many_scans(file: Path, rng: random.Random) -> str:
    """A progressive JPEG with one of its scans very often."""
    made = io.BytesIO()
    Image.new("RGB", (rng.choice([16, 2000]),) * 2, "red").save(made, "JPEG", progressive=True)
    parts = made.getvalue().split(b"\xff\xda")
    count = rng.choice([2, 90, 200, 20_000])
    file.write_bytes(b"\xff\xda".join([*parts[:-1], *[parts[-2]] * count, parts[-1]]))
    return f"{count} scans"


# ---------------------------------------------------------------- cases

QUICK = ["--size", "8", "--limit", "24", "--epochs", "1", "--threads", "1", "--no-pictures", "--batch", "8"]
TRAIN = ["--model", "MLP", "--model.hidden", "[4]", *QUICK]
RUNS = ["run", "conv", "vae"]
MEETS: dict[str, list[list[str]]] = {
    "run": [
        ["sample", "RUN", "--sampler.steps", "1", "--count", "2", "--out", "out.png"],
        ["sample", "RUN", "--sampler", "Walk", "--start", "images", "--sampler.steps", "1", "--out", "out.gif"],
        ["probe", "RUN", "images", "--probe", "Nearest", "--count", "2"],
        ["embed", "RUN", "images", "--out", "codes.parquet"],
        ["denoise", "RUN", "images", "--out", "clean"],
        ["restore", "conv", "images/a.png", "--problem", "Missing", "--ascent.steps", "2"],
        ["restore", "conv", "images/a.png", "--problem", "Inpaint", "--mask", "mask.png", "--ascent.steps", "2"],
        ["compare", "RUN", "other", "--out", "compared"],
        ["outliers", "RUN", "images", "--rate", "0.5", "--normal", "normal.npy", "--out", "odd.csv"],
        ["similar", "RUN", "images", "--out", "near.csv"],
        ["push", "RUN", "a/b", "--out", "shown"],
        ["export", "RUN", "--out", "model.pt2", "--format", "torch"],
        ["train", "images", "--run", "RUN", "--resume", "--epochs", "2", "--no-pictures"],
        ["train", "images", "--config", "RUN", "--run", "new", *QUICK],
        ["train", "images", "--config", "RUN/recipe.yaml", "--run", "new", *QUICK],
    ],
    "source": [
        ["data", "SOURCE"],
        ["train", "array.npy", "--masks", "SOURCE", "--objective.fidelity", "Observed", *TRAIN, "--run", "new"],
        ["train", "SOURCE", *TRAIN, "--run", "new"],
        ["train", "SOURCE", *TRAIN, "--run", "new", "--skip-bad"],
        ["embed", "run", "SOURCE", "--out", "codes.parquet"],
        ["duplicates", "SOURCE", "--out", "twice.csv"],
        ["outliers", "run", "SOURCE", "--rate", "0.5", "--normal", "normal.npy", "--out", "odd.csv"],
        ["similar", "run", "SOURCE", "--out", "near.csv"],
    ],
}


def of_nothing(rng: random.Random) -> Case:
    """Nothing damaged: every command must end with a result, or the others meet no more than its refusal."""
    words = rng.choice([*MEETS["run"], *MEETS["source"]])
    run, source = (
        rng.choice(RUNS),
        rng.choice(["images", "array.npy", "arrays.npz", "table", "rows.arrow", "images.zip"]),
    )
    words = [*words] if "--masks" not in words else [w.replace("SOURCE", "masks.npy") for w in words]
    return Case("sound", "", [word.replace("RUN", run).replace("SOURCE", source) for word in words])


def of_a_run(rng: random.Random) -> Case:
    """One file of a run damaged, and a command that reads the run."""
    run = rng.choice(RUNS)
    file = rng.choice(sorted(path for path in Path(run).rglob("*") if path.is_file() and path.name != ".lock"))
    how = damaged(file, rng)
    return Case("run", f"{file}: {how}", [word.replace("RUN", run) for word in rng.choice(MEETS["run"])])


def of_images(rng: random.Random) -> Case:
    """Some images of a folder damaged, and perhaps named oddly."""
    files = sorted(Path("images").iterdir())
    said = []
    for file in rng.sample(files, rng.choice([1, 3, len(files)])):
        jpeg = file.suffix == ".jpg" and rng.random() < 0.3
        said.append(f"{file.name}: {many_scans(file, rng) if jpeg else damaged(file, rng)}")
        if rng.random() < 0.2 and file.is_file():
            name = rng.choice(
                [b"\xe9.png", b"-x.png", b"a\nb.png", b" .png", b"x" * 250 + b".png", b".png", b"a.PNG.jpg"]
            )
            file.rename(os.fsdecode(b"images/" + name))
    return Case("images", "; ".join(said), [w.replace("SOURCE", "images") for w in rng.choice(MEETS["source"])])


def of_a_photograph(rng: random.Random) -> Case:
    """The photograph, or the mask, of a command that takes one."""
    run, name = rng.choice(RUNS), rng.choice(["images/a.png", "images/b.jpg", "images/f.tif", "mask.png"])
    how = many_scans(Path(name), rng) if name.endswith("jpg") and rng.random() < 0.3 else damaged(Path(name), rng)
    words = rng.choice(
        [
            ["denoise", run, name, "--out", "clean"],
            ["sample", run, "--sampler", "Walk", "--start", name, "--sampler.steps", "1", "--out", "out.gif"],
            ["restore", "conv", name, "--problem", "Missing", "--ascent.steps", "2"],
            ["restore", "conv", "images/a.png", "--problem", "Inpaint", "--mask", name, "--ascent.steps", "2"],
            ["train", "images", "--masks", name, "--objective.fidelity", "Observed", *TRAIN, "--run", "new"],
        ]
    )
    return Case("photograph", f"{name}: {how}", words)


def of_a_source(rng: random.Random) -> Case:
    """An array, a table, its README, an archive or masks damaged, or odd."""
    name = rng.choice(["array.npy", "arrays.npz", "masks.npy", "table/train.parquet", "rows.arrow", "images.zip"])
    way = rng.random()
    if name.endswith((".npy", ".npz")) and way < 0.3:
        arrays = {rng.choice(["x_train", "images", "y_train", "a", "x_test"]): odd_array(rng) for _ in range(3)}
        how = ", ".join(f"{key} {a.dtype}{a.shape}" for key, a in arrays.items())
        if name.endswith(".npy"):
            np.save(name, next(iter(arrays.values())))
        else:
            np.savez(name, **arrays)
    elif name.endswith((".npy", ".npz")) and way < 0.6:
        how, content = "odd header", odd_header(rng)
        if name.endswith(".npy"):
            Path(name).write_bytes(content)
        else:
            with zipfile.ZipFile(name, "w") as archive:
                archive.writestr(rng.choice(["images.npy", "x_train.npy", "y_train.npy"]), content)
                archive.writestr("x_test.npy", odd_header(rng))
    elif name.endswith((".parquet", ".arrow")) and way < 0.5:
        how = odd_table(name, rng)
    elif name.endswith(".parquet") and way < 0.7:
        how = f"README: {odd_readme(rng)}"
    else:
        how = damaged(Path(name), rng)
    given = rng.choice([name, os.path.dirname(name) or name])
    return Case(
        "source", f"{name}: {how}", [word.replace("SOURCE", given) for word in rng.choice(MEETS["source"])]
    )


def of_numbers(rng: random.Random) -> Case:
    """A number of thousands of digits in a recipe, a log or a report, which no damage of bytes would make."""
    run, digits = rng.choice(RUNS), rng.choice([20, 400, 9000, 200_000])
    number = rng.choice(["0x" + "f" * digits, "9" * digits, "1e" + "9" * min(digits, 400)])
    file = Path(run) / rng.choice(["recipe.yaml", "log.csv", "data.json", "report.json", "model/config.json"])
    text = file.read_text()
    places = [match.span() for match in re.finditer(r"(?<![\w.])\d+(\.\d+)?(?![\w.])", text)] or [(0, 0)]
    begin, end = rng.choice(places)
    file.write_text(text[:begin] + number + text[end:])
    return Case(
        "numbers", f"{file}: {number[:8]} of {digits}", [w.replace("RUN", run) for w in rng.choice(MEETS["run"])]
    )


def of_words(rng: random.Random) -> Case:
    """A command with random flags and values."""
    base = rng.choice([*MEETS["run"], *MEETS["source"], ["models"], ["models", "UNet"], ["train", *TRAIN]])
    words = [word.replace("RUN", "run").replace("SOURCE", "images") for word in base]
    known = [flag for flag in flags(words[0]) if flag not in NEVER]
    for _ in range(rng.choice([1, 1, 2, 4])):
        flag = rng.choice(known) if known and rng.random() < 0.9 else rng.choice(WORDS)
        short = flag.rpartition(".")[2].lstrip("-") in LONG or rng.random() < 0.4
        given = rng.choice(FEW) if short else rng.choice([str(rng.choice(NUMBERS)), rng.choice(WORDS)])
        words += [f"{flag}={given}"] if rng.random() < 0.5 else [flag, given]
    if rng.random() < 0.1:
        del words[rng.randrange(len(words))]
    words = [word.replace("\0", "") for word in words]
    return Case("words", "", words)


@cache
def flags(command: str) -> list[str]:
    """The flags of a command, by its own help."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        main([command, "--help"])
    return sorted(set(re.findall(r"^ +(?:\[?-\w, )?\[?(--[a-z][\w.-]*)", text.getvalue(), re.MULTILINE)))


KINDS: list[Callable[[random.Random], Case]] = [
    of_a_run, of_images, of_a_source, of_a_photograph, of_words, of_numbers, of_nothing
]  # fmt: skip


# ---------------------------------------------------------------- running them


def attempt(number: int, options: argparse.Namespace, source: Path) -> tuple[Case, Outcome]:
    """Run one case in a copy of the folder, in a process of its own."""
    rng = random.Random(f"{options.seed}-{number}")
    place = Path(tempfile.mkdtemp(prefix="case-"))
    try:
        shutil.copytree(source, place / "w", copy_function=shutil.copy, ignore=shutil.ignore_patterns("pipe.npy"))
        os.chdir(place / "w")
        os.mkfifo("pipe.npy")
        case = KINDS[number % len(KINDS)](rng)
        return case, run(case, place, real=options.real)
    finally:
        os.chdir("/")
        shutil.rmtree(place, ignore_errors=True)


def run(case: Case, place: Path, *, real: bool = False) -> Outcome:
    """Fork, run the command there, or in a new process, and watch it."""
    begun, said = time.monotonic(), place / "said"
    child = os.fork()
    if not child:
        code = 99
        try:
            os.environ["COPYFOLD_CACHE"] = str(place / "cache")
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            file = os.open(said, os.O_WRONLY | os.O_CREAT)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0), os.dup2(nothing, 1), os.dup2(file, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            if real:
                os.execv(sys.executable, [sys.executable, "-m", "copyfold", *case.arguments])
            code = main(case.arguments)
        except BaseException as error:
            print("Traceback", type(error).__name__, error, file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)
    wrong, code = watched(child)
    text = said.read_text(errors="replace") if said.exists() else ""
    return Outcome(wrong or judged(case, code, text), code, text, time.monotonic() - begun)


def watched(child: int) -> tuple[str, int]:
    """Wait for a process; "memory" or "hang" where it had to be killed, and its exit code."""
    active, spent = time.monotonic(), [""]
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "", os.waitstatus_to_exitcode(status)
        wrong = ""
        with contextlib.suppress(OSError, IndexError):
            if int(Path(f"/proc/{child}/statm").read_text().split()[1]) * resource.getpagesize() > MEMORY:
                wrong = "memory"
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if state[0] == "R" or state[11:13] != spent:  # it works, or waits for its turn of the processor
                active, spent = time.monotonic(), state[11:13]
        if wrong or time.monotonic() - active > IDLE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return wrong or "hang", 0
        time.sleep(0.01)


def judged(case: Case, code: int, text: str) -> str:
    """What is wrong with how a command ended; "" where nothing is."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "hang"
    if code < 0:
        return f"crash by {signal.Signals(-code).name}"
    if any(fault in text for fault in FAULTS):
        return "fault"
    if code not in CODES or (code and not text.strip()):
        return f"exit code {code}"
    return "refused" if code and case.kind == "sound" else ""


def share(worker: int, options: argparse.Namespace, source: Path, results: Path) -> None:
    """The cases of one worker; a line of JSON each."""
    with results.open("w") as file:
        for number in range(worker, options.cases, options.workers):
            case, outcome = attempt(number, options, source)
            line = {"number": number, **case._asdict(), **outcome._asdict()}
            line["said"] = outcome.said[-600:] if outcome.wrong else ""
            print(json.dumps(line), file=file, flush=True)


def everything() -> None:
    """Import what commands import, also what they import late, so that a case begins at once; compute nothing."""
    import importlib
    import pkgutil

    import copyfold

    own = (module.name for module in pkgutil.walk_packages(copyfold.__path__, "copyfold."))
    late = ("lightning_fabric", "matplotlib.pyplot", "torch._dynamo", "torch.export", "torch.onnx", "av")
    for name in (*own, *late):
        if not name.startswith(("copyfold.__main__", "copyfold.estimators", "copyfold.studio")):
            importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: a process that has some cannot be forked"


def fuzz(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All cases, in the order of their numbers."""
    with tempfile.TemporaryDirectory() as scratch:
        source, parts = Path(scratch) / "source", [Path(scratch) / f"part{k}" for k in range(options.workers)]
        source.mkdir()
        maker = os.fork()
        if not maker:
            os.environ["COPYFOLD_CACHE"] = f"{scratch}/cache"
            with (
                open(os.devnull, "w") as nothing,
                contextlib.redirect_stderr(nothing),
                contextlib.redirect_stdout(nothing),
            ):
                try:
                    prepared(source)
                except BaseException:
                    os._exit(1)
            os._exit(0)
        assert os.waitpid(maker, 0)[1] == 0, "the folder of runs and images could not be made"
        if not options.real:  # new processes import for themselves
            everything()
        if options.only is not None:
            case, outcome = attempt(options.only, options, source)
            return [{"number": options.only, **case._asdict(), **outcome._asdict()}]
        children = []
        for k, part in enumerate(parts):
            if not (child := os.fork()):
                try:
                    share(k, options, source, part)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        lines = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    tried = {line["number"] for line in lines}
    untried = [number for number in range(options.cases) if number not in tried]
    assert not untried, f"a process ended at case {untried[0]}, which --only {untried[0]} tries alone"
    return sorted(lines, key=lambda line: line["number"])


def table(lines: list[dict[str, Any]]) -> str:
    """How many cases of each kind there were, and how many were wrong, in which way."""
    kinds = Counter(line["kind"] for line in lines)
    done = Counter(line["kind"] for line in lines if line["code"] == 0)
    ways = Counter((line["kind"], line["wrong"]) for line in lines).items()
    rows = [
        f"| {kind} | {count:,} | {done[kind]:,} | "
        f"{', '.join(f'{n} {how}' for (k, how), n in ways if k == kind and how) or '0'} |"
        for kind, count in kinds.items()
    ]
    return "\n".join(["| kind | cases | with a result | wrong |", "|---|---:|---:|---|", *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int)
    parser.add_argument("--real", action="store_true")
    given = parser.parse_args()
    begun = time.monotonic()
    found = fuzz(given)
    for line in found:
        if line["wrong"] or given.only is not None:
            print(json.dumps(line, indent=1))
    print(table(found))
    print(f"{len(found):,} cases in {(time.monotonic() - begun) / 60:.1f} minutes")
    sys.exit(any(line["wrong"] for line in found))
