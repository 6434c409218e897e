"""Files that would wait, fill the memory or take hours: one line within seconds, whatever they claim."""

import io
import json
import math
import os
import signal
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold.data import scenes
from copyfold.data.reading import rowgroups
from copyfold.data.reading.decoding import Refused, decode
from copyfold.data.reading.opening import recognise
from copyfold.errors import DataError
from copyfold.training.checkpointing import read
from copyfold.training.plan import Plan
from copyfold.training.unpickling import check_pickle

SECONDS = 20  # of a test, far above what it takes


@pytest.fixture(autouse=True)
def _in_time():
    """What waits for a pipe would never end."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits for a file that is none")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with four photographs in images/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for k, pixels in enumerate(scenes(4, 16)):
        Image.fromarray(pixels).save(f"images/{k}.png")
    return tmp_path


def png(k=0):
    """The bytes of a small photograph."""
    file = io.BytesIO()
    Image.fromarray(scenes(k + 1, 8)[k]).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def table(here):
    """Four encoded photographs in table/a.parquet."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (here / "table").mkdir()
    parquet.write_table(pyarrow.table({"image": [png(k) for k in range(4)]}), "table/a.parquet")
    return here / "table"


# ---------------------------------------------------------------- pipes where files are expected


@pytest.mark.parametrize("name", ["pipe.npy", "pipe.npz", "pipe.png", "pipe.tif", "pipe.zip", "pipe.parquet"])
def test_masks_and_data_in_a_pipe_are_refused(name, here, copyfold):
    os.mkfifo(name)
    with pytest.raises(DataError, match=f"{name} .*: it is a pipe, a device or a socket"):
        cf.Photos("images", masks=name)
    copyfold("data", name).refused(3, name, "a pipe, a device or a socket")


@pytest.mark.parametrize("name", ["pipe.png", "pipe.tif", "pipe.webp"])
def test_a_photograph_in_a_pipe_is_refused(name, here, run, copyfold):
    os.mkfifo(name)
    said = "a pipe, a device or a socket"
    copyfold("denoise", run, name).refused(3, name, said)
    copyfold("sample", run, "--sampler", "Walk", "--start", name).refused(3, name, said)


def test_a_photograph_to_restore_and_its_mask_in_a_pipe_are_refused(here, run, copyfold):
    os.mkfifo("pipe.png")
    words = ["restore", run, "--problem", "Inpaint", "--ascent.steps", "1"]
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save("mask.png")
    copyfold(*words, "pipe.png", "--mask", "mask.png").refused(3, "pipe.png", "a pipe")
    copyfold(*words, "images/0.png", "--mask", "pipe.png").refused(3, "pipe.png", "a pipe")


def test_a_readme_in_a_pipe_beside_parquet_says_nothing(here, table, copyfold):
    os.mkfifo("table/README.md")
    assert copyfold("data", "table").done().out


def test_a_report_in_a_pipe_says_nothing_in_the_card_of_a_run(here, copied, copyfold):
    os.mkfifo(copied / "report.json")
    copyfold("push", copied, "a/b", "--out", "shown").done()
    assert "What it learned" not in (here / "shown/README.md").read_text()


@pytest.mark.parametrize("name", ["link.png", "link.npy"])
def test_a_link_to_itself_is_no_file(name, here, run, copyfold):
    os.symlink(name, name)
    copyfold("denoise", run, name).refused(3, name)
    copyfold("embed", run, name).refused(3, name)
    copyfold("restore", run, name, "--problem", "Missing").refused(3, name)


# ---------------------------------------------------------------- small files that take memory or time


def scans(count):
    """A progressive JPEG with one of its scans so many times."""
    file = io.BytesIO()
    Image.fromarray(scenes(1, 16)[0]).save(file, "JPEG", progressive=True)
    parts = file.getvalue().split(b"\xff\xda")
    return b"\xff\xda".join([*parts[:-1], *[parts[-2]] * count, parts[-1]])


def test_a_jpeg_of_very_many_scans_is_refused_before_decoding(here, run, copyfold):
    (here / "usual.jpg").write_bytes(scans(0))
    (here / "many.jpg").write_bytes(scans(200))
    copyfold("denoise", run, "usual.jpg").done()
    copyfold("denoise", run, "many.jpg").refused(3, "many.jpg", "scans, more than 100")
    with pytest.raises(Refused, match="scans, more than 100"):
        decode(scans(200))


def repeated(value, rows=9_999):
    """A column with one value in all rows, which is in the file once."""
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(rows, np.int32)), pyarrow.array([value]))


def listing(path):
    """The names and labels of a table."""
    with recognise(path, None) as source:
        return source.listing()


def saved(table, path="t.parquet", **options):
    """Write a table; a .arrow in batches of some rows."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    if path.endswith(".parquet"):
        parquet.write_table(table, path, store_schema=False, compression="zstd", **options)
        return path
    rows = options.pop("rows", None)
    with pyarrow.ipc.new_stream(path, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def test_labels_that_fill_the_memory_are_left_out(here):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"image": [png()] * 9_999, "label": repeated("x" * 60_000)})
    found = listing(saved(table))
    assert found.labels is None
    assert "they are more than 68,108,764 bytes" in found.notes[0]
    assert os.path.getsize("t.parquet") < 5_000
    assert listing(saved(table, "t.arrow")).labels is None


@pytest.mark.parametrize("path", ["t.parquet", "t.arrow"])
def test_labels_of_usual_sizes_are_read(path, here):
    pyarrow = pytest.importorskip("pyarrow")
    one_hot = [[float(k == row % 3) for k in range(3)] for row in range(9)]
    for labels in ([row % 3 for row in range(9)], [*"abcabcabc"], repeated("name", 9), one_hot):
        found = listing(saved(pyarrow.table({"image": [png()] * 9, "label": labels}), path))
        assert found.labels is not None


def test_lists_of_nothing_are_no_labels(here):
    pyarrow = pytest.importorskip("pyarrow")
    nothing = pyarrow.FixedSizeListArray.from_arrays(pyarrow.nulls(2**30), 2**29)
    assert listing(saved(pyarrow.table({"image": [png()] * 2, "label": nothing}), "t.arrow")).labels is None


def test_a_column_that_unpacks_to_far_more_than_it_has_is_refused(here, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    monkeypatch.setattr(rowgroups, "UNPACKED", 1_000_000)
    path = saved(pyarrow.table({"image": [png(), bytes(3_000_000)]}), use_dictionary=False)
    with recognise(path, None) as source, pytest.raises(DataError, match="would unpack to 3,000,"):
        source.coded(0)


def test_an_image_that_stands_in_many_rows_does_not_fill_the_disk(here, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    monkeypatch.setattr(rowgroups, "UNPACKED", 1_000_000)
    with recognise(saved(pyarrow.table({"image": repeated(bytes(50_000))})), None) as source:
        assert len(source.listing().names) == 9_999
        with pytest.raises(DataError, match="would unpack to more than 1 MB of images"):
            source.coded(0)


def test_arrow_that_states_rows_or_is_compressed_is_refused(here):
    pyarrow = pytest.importorskip("pyarrow")
    nothing = pyarrow.table({"image": pyarrow.nulls(40_000_000), "label": pyarrow.nulls(40_000_000)})
    with pytest.raises(DataError, match="it states 40,000,000 rows, in"):
        listing(saved(nothing, "t.arrow"))
    zeros = pyarrow.table({"image": [png(), bytes(100_000)]})
    for labels in ({}, {"label": repeated("x" * 1000, 2)}):
        for name, column in labels.items():
            zeros = zeros.append_column(name, column)
        assert listing(saved(zeros, "t.arrow")).names
        with pytest.raises(DataError, match="it is compressed: save it without"):
            listing(saved(zeros, "t.arrow", compression="zstd"))


def test_the_batches_of_an_arrow_file_are_gone_through_once(here, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"image": [png(k % 3) for k in range(60)], "label": [k % 3 for k in range(60)]})
    path, opened = saved(table, "t.arrow", rows=1), []
    stream = pyarrow.ipc.open_stream
    monkeypatch.setattr(pyarrow.ipc, "open_stream", lambda file: opened.append(file) or stream(file))
    with recognise(path, None) as source:
        assert source.listing().labels == [k % 3 for k in range(60)]
        assert [source.coded(k) for k in range(60)] == [png(k % 3) for k in range(60)]
    assert len(opened) == 1


def test_a_readme_with_yaml_aliases_is_not_unfolded(table, copyfold):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 9)]
    merged = ["m0: &m0 {x: 1}", *[f"m{k}: &m{k} {{<<: [{', '.join([f'*m{k - 1}'] * 9)}]}}" for k in range(1, 9)]]
    for front in (lines, merged, ["&a *a", "[" * 40_000]):
        (table / "README.md").write_text("\n".join(["---", "configs: []", *front, "---"]))
        assert copyfold("data", "table").done().out


# ---------------------------------------------------------------- damaged files, in one line


def npy(header, data=bytes(64)):
    """A .npy of whatever header."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def shaped(shape, kind="|u1"):
    return npy(f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}")


HEADERS = {
    "unclosed": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 8, 8"),
    "deep": npy("(" * 3000),
    "of 70 bits": shaped((2**70, 8, 8)),
    "of 62 bits": shaped((2**62, 8, 8)),
    "negative": shaped((-1, 8, 8)),
    "twice negative": shaped((-1, -8, 8)),
    "a truth": shaped((True, 8, 8)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("how", HEADERS)
def test_a_damaged_header_of_an_array_is_refused(how, here):
    (here / "a.npy").write_bytes(HEADERS[how])
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("images.npy", HEADERS[how])
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=f"{name} is not an array file that can be read: (it|images) has"):
            cf.Photos(name, size=8)
        with pytest.raises(DataError, match=f"{name} is not an array file that can be read: (it|images) has"):
            cf.Photos(np.zeros((1, 8, 8)), masks=name)


@pytest.mark.parametrize("kind", ["|V3", "<U3", "|S2", "<M8[s]", "<c8"])
def test_masks_that_are_no_numbers_are_refused(kind, here):
    masks = np.zeros((1, 2, 2), kind)
    np.save("masks.npy", masks)
    for given in (masks, "masks.npy"):
        with pytest.raises(DataError, match="masks are numbers, 0 where a pixel is missing"):
            cf.Photos(np.zeros((1, 2, 2)), size=8, masks=given)


@pytest.mark.parametrize("name", ["limit", "seed", "lr", "batch"])
def test_a_number_that_python_does_not_write_is_refused(name, here, copyfold):
    number = "0x" + "f" * 9000
    (here / "recipe.yaml").write_text(f"{name}: {number}\n")
    copyfold("train", "--config", "recipe.yaml", "--run", "new").refused(2, "more than 308 digits")
    copyfold("train", f"--{name}", number, "--run", "new").refused(2, f"--{name} 0xfff", "is invalid: expected")


def test_a_log_with_a_field_too_long_for_csv_is_refused(copied, copyfold):
    for text in ("epoch,step\n1," + "1" * 200_000 + "\n", "epoch,step\ninf,1\n", "epoch\n1\n"):
        (copied / "log.csv").write_text(text)
        copyfold("train", "--run", copied, "--resume", "--epochs=3").refused(2, "log.csv is not the log of a run")


@pytest.mark.parametrize("content", ["[]", "5", '{"facts": 3, "sentences": [1]}', '{"sentences": {"a": 3}}', "{"])
def test_a_report_of_another_shape_says_nothing_in_the_card(content, here, copied, copyfold):
    (copied / "report.json").write_text(content)
    (copied / "data.json").write_text(json.dumps({"mean_error": "large", "train": [1]}))
    copyfold("push", copied, "a/b", "--out", "shown").done()
    assert "What it learned" not in (here / "shown/README.md").read_text()


def tally(count=1, **sums):
    """A tally of named sums, each of so many numbers."""
    return lambda kept: {
        "sums": sums or {"loss": torch.ones(())},
        "counts": dict.fromkeys(sums or ["loss"], count),
    }


def doubled(kept):
    """A few hundred bytes of pickle that no computer can walk through."""
    value = []
    for _ in range(40):
        value = [value, value]
    kept[0]["state"][0]["step"] = value
    return kept


CHECKPOINTS = {
    "lists that double 40 times": ("optimizer_states", doubled),
    "a sum of one number, ten billion times": ("tally", tally(loss=torch.ones(1).expand(10**10))),
    "a step of 70 bits": ("global_step", lambda kept: 2**70),
    "a step before the first": ("global_step", lambda kept: -1),
    "no number of seconds": ("seconds", lambda kept: math.nan),
    "seconds without end": ("seconds", lambda kept: math.inf),
    "seconds of 400 digits": ("seconds", lambda kept: 10**400),
    "seconds before the start": ("seconds", lambda kept: -5.0),
    "no number as the lowest loss": ("lowest", lambda kept: math.nan),
    "a count of 400 digits": ("tally", tally(10**400)),
    "a count of nothing": ("tally", tally(0)),
    "a complex sum": ("tally", tally(loss=torch.ones((), dtype=torch.cfloat))),
    "sums of different sizes": ("tally", tally(loss=torch.ones(2), mse=torch.ones(3))),
    "complex weights": ("state_dict", lambda kept: {k: v.cfloat() for k, v in kept.items()}),
    "halved weights": ("state_dict", lambda kept: {k: v.half() for k, v in kept.items()}),
    "sparse weights": ("state_dict", lambda kept: {k: v.to_sparse() for k, v in kept.items()}),
}


@pytest.mark.parametrize("how", CHECKPOINTS)
def test_a_checkpoint_with_a_wrong_value_is_refused(how, copied):
    kept = torch.load(copied / "last.ckpt", weights_only=True)
    given = cf.runs.open(copied), cf.load(copied), Plan(epochs=3), kept["batches"]
    assert read(*given)["global_step"] == kept["global_step"]
    part, change = CHECKPOINTS[how]
    torch.save(kept | {part: change(kept[part])}, copied / "last.ckpt")
    with pytest.raises(cf.UsageError, match=r"last.ckpt .*overwrite=True"):
        read(*given)


def repickled(path, change, name=str):
    """Write a checkpoint again with its pickle changed, and the names of its members."""
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for member, data in members.items():
            file.writestr(name(member), change(data) if member.endswith("data.pkl") else data)


HUGE = b"\x8a\x05" + (6 * 10**9).to_bytes(5, "little")
TWICE = b"h\xc8\x86q\xc8"  # a tuple of the value before it, twice
TUPLES = b"K\0q\xc8" + 40 * TWICE
ORDERED = b"ccollections\nOrderedDict\n"
PICKLES = {
    "a function of Python's": (b"cbuiltins\nbytearray\n" + HUGE + b"\x85R", "names 'builtins bytearray'"),
    "memory without a member": (b"ctorch.storage\nUntypedStorage\n" + HUGE + b"\x85R", "calls a function"),
    "a tuple as a key": (b"}" + TUPLES + b"Ns", "a key that is neither a number nor a word"),
    "a tuple as a key, in a list": (b"}(" + TUPLES + b"Nu", "a key that is neither a number nor a word"),
    "a tuple as an ordered key": (ORDERED + b"]" + TUPLES + b"N\x86a\x85R", "calls a function"),
    "a tuple as an attribute": (ORDERED + b")R]" + TUPLES + b"N\x86ab", "attributes of something"),
    "tuples that double": (TUPLES, "unfolds to more than 5,000,000 values"),
    "a list of itself": (b"]q\xc8h\xc8a", "more than 50 deep"),
    "lists 60 deep": (60 * b"]" + 59 * b"a", "more than 50 deep"),
    "as many values as bytes": (b"](" + 5_000_001 * b"N" + b"e", "more than 5,000,000 values"),
    "bytes of Python 2": (b"U\x01a", "a SHORT_BINSTRING"),
}
"""What stands in the place of a checkpoint's pickle, and what is said of it."""


@pytest.mark.parametrize("how", PICKLES)
def test_a_pickle_that_asks_for_more_than_it_has_is_refused_before_it_is_obeyed(how, copied, copyfold):
    pickle, said = PICKLES[how]
    repickled(copied / "last.ckpt", lambda data: b"\x80\x02" + pickle + b".")
    line = ("train", "--run", copied, "--resume", "--epochs=3")
    copyfold(*line).refused(2, "last.ckpt cannot be read (it ", said, "--overwrite")


def test_a_checkpoint_is_read_by_one_format_alone(copied, copyfold):
    old = io.BytesIO()
    torch.save({"a": 1}, old, _use_new_zipfile_serialization=False)
    (copied / "last.ckpt").write_bytes(old.getvalue() + (copied / "last.ckpt").read_bytes())
    line = ("train", "--run", copied, "--resume", "--epochs=3")
    copyfold(*line).refused(2, "last.ckpt cannot be read (it is not a file of torch.save)")


def test_a_member_is_read_under_one_name_alone(copied, copyfold):
    def renamed(name):
        return name.replace("data/0", "data/a")  # torch finds it as data/A too, and reads it once more

    repickled(copied / "last.ckpt", lambda data: data.replace(b"X\1\0\0\x000", b"X\1\0\0\0A"), renamed)
    line = ("train", "--run", copied, "--resume", "--epochs=3")
    copyfold(*line).refused(2, "last.ckpt cannot be read (it has a tensor of no numbered member)")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, dtype=torch.uint16),
        torch.zeros(2).to(torch.float8_e4m3fn),
        torch.zeros(2, dtype=torch.bool),
        torch.nn.Parameter(torch.zeros(2)),
        torch.nn.Conv2d(1, 1, 1).state_dict(),
        [torch.bfloat16, None, True, "word", 2**62, (1, -2.5)],
        list(range(2000)),
    ],
    ids=["uint16", "float8", "bool", "parameter", "ordered", "words", "many"],
)
def test_what_an_optimiser_of_ones_own_may_keep_is_read(value, tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        torch.save({"one": value, "and again": value}, file)
        check_pickle(file)
        assert torch.load(file, weights_only=True).keys() == {"one", "and again"}


def test_complex_weights_are_refused_before_anything_is_overwritten(copied, copyfold):
    kept = torch.load(copied / "last.ckpt", weights_only=True)
    torch.save(kept | {"state_dict": {k: v.cfloat() for k, v in kept["state_dict"].items()}}, copied / "last.ckpt")
    before = (copied / "log.csv").read_bytes()
    line = ("train", "--run", copied, "--resume", "--epochs=3")
    copyfold(*line).refused(2, "last.ckpt has ", "as torch.complex64, and not as torch.float32", "--overwrite")
    assert (copied / "log.csv").read_bytes() == before
