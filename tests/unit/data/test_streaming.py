"""Stream: a pure function of the seed and n, divided over processes, with the pixels of Photos."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from copyfold.data import Photos, streaming
from copyfold.data.reading import shards, shuffling
from copyfold.data.streaming import Stream, StreamBatches
from copyfold.errors import DataError, UsageError


def png(number: int, side: int = 8) -> bytes:
    """An image that says its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (number // 256, number % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def numbers(x: torch.Tensor | np.ndarray) -> list[int]:
    """What images made by `png` say, N·C·H·W as tensors and N·H·W·C as arrays."""
    pixels = x.permute(0, 2, 3, 1).numpy() if isinstance(x, torch.Tensor) else x
    return [int(high) * 256 + int(low) for high, low, _ in pixels[:, 0, 0]]


def write(path: Path, coded: list[bytes | None], group: int = 1000, column: str = "image") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": content, "path": None} for content in coded]
    parquet.write_table(pa.table({column: images, "label": [0] * len(coded)}), path, row_group_size=group)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """210 images in 5 shards of 42, in row groups of 10, 10, 10, 10 and 2."""
    for k in range(5):
        write(tmp_path / "set" / f"train-{k:05d}-of-00005.parquet", [png(42 * k + i) for i in range(42)], group=10)
    return tmp_path / "set"


def epoch(batches: StreamBatches) -> list[int]:
    return [number for x in batches for number in numbers(x)]


def test_an_epoch_has_every_image_once_and_no_held_out_image(sharded: Path) -> None:
    stream = Stream(sharded, 8, buffer=40, held_out=10)
    assert (len(stream), stream.shape, stream.held_out.shape) == (200, (3, 8, 8), (10, 8, 8, 3))
    batches = stream.batches(20)
    first, second = epoch(batches), epoch(batches)
    assert len(batches) == 10
    assert batches.n == 20
    assert sorted(first) == sorted(second) == sorted(set(range(210)) - set(numbers(stream.held_out)))
    assert first != second
    assert epoch(stream.batches(20, seed=1)) not in (first, second)
    assert first != sorted(first)


def test_batches_are_bytes_in_channels_last_and_an_incomplete_one_is_dropped(sharded: Path) -> None:
    batches = Stream(sharded, 8, held_out=10).batches(64)
    found = list(batches)
    assert len(found) == len(batches) == 3
    assert all(x.shape == (64, 3, 8, 8) and x.dtype == torch.uint8 for x in found)
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert len(set(epoch(Stream(sharded, 8, held_out=10).batches(64)))) == 192


@pytest.mark.parametrize(("rank", "world", "flip"), [(0, 1, False), (0, 1, True), (1, 3, True)])
def test_a_resume_at_any_batch_continues_exactly(sharded: Path, rank: int, world: int, flip: bool) -> None:
    stream = Stream(sharded, 8, buffer=30, held_out=10, flip=flip)
    batches = stream.batches(30, 7, rank, world)
    whole = [x for _ in range(2) for x in batches]
    assert len(whole) == 12
    for start in range(12):
        resumed = Stream(sharded, 8, buffer=30, held_out=10, flip=flip).batches(30, 7, rank, world)
        resumed.n = start
        rest = list(resumed)
        assert len(rest) == 6 - start % 6
        assert resumed.n == 6 * (start // 6 + 1)
        assert all(torch.equal(x, y) for x, y in zip(rest, whole[start:], strict=False))


def test_a_resume_does_not_decode_what_was_seen(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(sharded, 8, buffer=8, held_out=10)
    decoded, opened = [], []
    decode, chunks = streaming.decoded, shards.Tables._chunks
    monkeypatch.setattr(streaming, "decoded", lambda *args: decoded.append(1) or decode(*args))
    monkeypatch.setattr(shards.Tables, "_chunks", lambda *args: opened.append(args[1:]) or chunks(*args))
    batches = stream.batches(10)
    assert len(list(batches)) == 20
    assert len(decoded) == 200
    assert len(opened) == len(set(opened)) == 25  # row groups, each once
    decoded.clear()
    opened.clear()
    batches.n = 19
    found = list(batches)
    assert len(found) == 1
    assert len(decoded) == 10
    assert len(set(opened)) < 25 / 2


def test_processes_see_different_images_and_all_of_them(sharded: Path) -> None:
    for world, held_out in ((2, 10), (3, 12), (4, 10)):  # 5 row groups a process and more: dealt out
        stream = Stream(sharded, 8, buffer=16, held_out=held_out)
        batch = 6 * world
        parts = [stream.batches(batch, 3, rank, world) for rank in range(world)]
        assert {len(part) for part in parts} == {len(stream) // batch}
        for _ in range(2):
            seen = [epoch(part) for part in parts]
            together = [number for part in seen for number in part]
            assert {len(part) for part in seen} == {6 * len(parts[0])}
            assert len(set(together)) == len(together)
            assert set(together) <= set(range(210)) - set(numbers(stream.held_out))
    stream = Stream(sharded, 8, held_out=10)
    assert sorted(epoch(stream.batches(40, 0, 0, 2)) + epoch(stream.batches(40, 0, 1, 2))) == sorted(
        epoch(stream.batches(40))
    )


def test_fewer_shards_and_row_groups_than_processes(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.parquet", [png(k) for k in range(66)])
    stream = Stream(tmp_path / "set", 8, held_out=2, buffer=10)
    assert "in 1 row groups only: images in them are shuffled over 10 images" in stream.notes
    seen = [epoch(stream.batches(16, 0, rank, 8)) for rank in range(8)]
    assert {len(part) for part in seen} == {8}
    assert sorted(number for part in seen for number in part) == sorted(epoch(stream.batches(16)))


@pytest.mark.parametrize("group", [40, 400])
def test_a_source_sorted_by_class_gives_every_process_of_every_class(tmp_path: Path, group: int) -> None:
    """Ten classes of 400 images, one file each: dealt out in row groups, or every second image."""
    for k in range(10):
        write(tmp_path / "set" / f"{k}.parquet", [png(400 * k + i) for i in range(400)], group=group)
    stream = Stream(tmp_path / "set", 8, held_out=1)
    for rank in range(2):
        classes = Counter(number // 400 for number in epoch(stream.batches(2, 0, rank, 2)))
        assert all(155 <= classes[k] <= 245 for k in range(10))  # a half, and a row group more or less


def test_a_folder_of_classes_is_shuffled(tmp_path: Path) -> None:
    for k in range(600):
        path = tmp_path / "set" / f"class{k // 100}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(k))
    stream = Stream(tmp_path / "set", 8, buffer=32, held_out=30)
    batches = stream.batches(95)
    classes = [Counter(number // 100 for number in numbers(x)) for x in batches]
    assert all(len(found) == 6 and max(found.values()) < 40 for found in classes)
    assert len(Counter(number // 100 for number in numbers(stream.held_out))) == 6
    seen = epoch(batches)
    assert len(set(seen)) == 570
    assert not set(seen) & set(numbers(stream.held_out))
    assert stream.held_out_names[0] == str(
        tmp_path / "set" / f"class{numbers(stream.held_out)[0] // 100}" / f"{numbers(stream.held_out)[0]}.png"
    )


def test_the_shuffle_buffer_has_its_size() -> None:
    """Against an independent implementation of a shuffle: fill, draw, replace, and empty at the end."""
    pieces = [shuffling.Piece(0, range(50)), shuffling.Piece(1, range(5, 25, 2)), shuffling.Piece(2, range(30))]
    order = list(shuffling.interleaved(pieces))
    assert order[:6] == [
        (pieces[0], 0),
        (pieces[1], 5),
        (pieces[2], 0),
        (pieces[0], 1),
        (pieces[1], 7),
        (pieces[2], 1),
    ]
    assert len(order) == len(set(order)) == 90
    many = [shuffling.Piece(k, range(3)) for k in range(20)]
    assert [piece.part for piece, _ in list(shuffling.interleaved(many))[48:52]] == [16, 17, 18, 19]
    rng, again, buffer, rest = shuffling.generator("a"), shuffling.generator("a"), order[:7], iter(order[7:])
    found = [shuffling.exchange(buffer, next(rest, None), rng) for _ in range(90)]
    expected, held = [], order[:7]
    for k in range(90):
        place = int(again.random() * len(held))
        expected.append(held[place])
        held[place] = held[-1] if k >= 83 else order[7 + k]
        held = held[: 7 if k < 83 else 89 - k]
    assert found == expected
    assert all(found.index(place) > k - 7 for k, place in enumerate(order))  # none before it was read


def picture(kind: str, seed: int) -> bytes:
    """A coded image of noise, in one of the ways that images come."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    image, more = Image.fromarray(pixels[..., :3]), {}
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        more = {"exif": exif}
    elif kind == "large":
        image = image.resize((440, 600))
    elif kind == "clear":
        image = Image.fromarray(pixels)
    elif kind == "palette":
        image = image.quantize(16)
    elif kind == "grey":
        image = image.convert("L")
    elif kind == "deep":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if kind in ("turned", "large") else "PNG", **more)
    return buffer.getvalue()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("channels", [None, 1])
def test_a_stream_has_the_pixels_of_photos(tmp_path: Path, fit: streaming.Fit, channels: int | None) -> None:
    kinds = ["plain", "turned", "large", "clear", "palette", "grey", "deep"]
    coded = [picture(kind, k) for k, kind in enumerate(kinds * 3)]
    write(tmp_path / "set" / "train-0.parquet", coded[:20], group=4)
    write(tmp_path / "set" / "test-0.parquet", coded)
    for k, content in enumerate(coded):
        path = tmp_path / "files" / ("test" if k == 0 else "train") / f"{k:02d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".jpg" if content[:2] == b"\xff\xd8" else ".png").write_bytes(content)
    for source in (tmp_path / "set", tmp_path / "files"):
        photos = Photos(source, 16, fit=fit, channels=channels)
        stream = Stream(source, 16, fit=fit, channels=channels)
        assert stream.shape == photos.shape
        assert hashes(stream.held_out) == hashes(photos.held_out)
        rows = torch.cat(list(stream.batches(5))).permute(0, 2, 3, 1).numpy()
        assert hashes(rows) == hashes(photos.train)
        assert torch.equal(stream.images("held_out", 1), stream.images("held_out")[:1])


def hashes(pixels: np.ndarray) -> Counter[bytes]:
    return Counter(np.ascontiguousarray(image).tobytes() for image in pixels)


def test_the_number_of_threads_does_not_change_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "set" / "a.parquet", [png(k, 128) for k in range(90)], group=9)
    monkeypatch.setattr(streaming, "cores", lambda: 3)
    stream = Stream(tmp_path / "set", 4, held_out=2)
    assert stream.workers == 3
    threaded = list(stream.batches(10))
    stream.workers = 1
    assert all(torch.equal(x, y) for x, y in zip(stream.batches(10), threaded, strict=True))


def test_grey_images_make_one_channel(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.parquet", [picture("grey", k) for k in range(10)])
    stream = Stream(tmp_path / "set", 8)
    assert stream.shape == (1, 8, 8)
    assert "every image held out is grey: 1 channel" in stream.notes
    assert Stream(tmp_path / "set", 8, channels=3).shape == (3, 8, 8)


def test_a_test_split_is_held_out_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "set" / "data" / "train-0.parquet", [png(k) for k in range(30)])
    write(tmp_path / "set" / "data" / "test-0.parquet", [png(k) for k in range(100, 140)])
    stream = Stream(tmp_path / "set", 8, held_out=7)
    assert len(stream) == 30
    assert set(numbers(stream.held_out)) < set(range(100, 140))
    assert stream.notes[0] == "7 of 40 images of the split test are held out"
    assert sorted(epoch(stream.batches(10))) == list(range(30))


def test_a_sample_of_a_stream_has_images_of_it(sharded: Path) -> None:
    stream = Stream(sharded, 8, held_out=10)
    x = stream.images("train", 30)
    assert x.shape == (30, 3, 8, 8)
    assert x.dtype == torch.float32
    assert torch.equal(stream.images("train", 10, 20), x[20:])
    found = set(numbers((255 * x).round().to(torch.uint8)))
    assert len(found) == 30
    assert not found & set(numbers(stream.held_out))
    assert stream.images("train", 1000).shape[0] == 200
    with pytest.raises(UsageError, match="say how many"):
        stream.images()
    with pytest.raises(UsageError, match="which='test' is invalid"):
        stream.images("test")  # pyright: ignore[reportArgumentType]


def test_the_recipe_rebuilds_the_same_stream(sharded: Path) -> None:
    stream = Stream(sharded, 8, held_out=10, buffer=20, flip=True, seed=3)
    recipe = stream.recipe()
    again = Stream(recipe.pop("data"), recipe.pop("size"), **recipe)
    assert again.fingerprint == stream.fingerprint
    assert again.held_out_names == stream.held_out_names
    assert stream.held_out_names != Stream(sharded, 8, held_out=10).held_out_names
    assert torch.equal(torch.cat(list(again.batches(10))), torch.cat(list(stream.batches(10))))
    write(sharded / "train-00000-of-00005.parquet", [png(999)] * 42, group=10)
    assert Stream(sharded, 8, held_out=10, buffer=20, flip=True, seed=3).fingerprint != stream.fingerprint


def test_flips_mirror_about_half_and_others_in_each_epoch(tmp_path: Path) -> None:
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, 4:] = 255
    buffer = io.BytesIO()
    Image.fromarray(halves).save(buffer, "PNG")
    write(tmp_path / "set" / "a.parquet", [buffer.getvalue()] * 1001)
    batches = Stream(tmp_path / "set", 8, held_out=1, flip=True).batches(100)
    epochs = [torch.cat(list(batches))[:, 0, 0, 0] == 255 for _ in range(2)]
    assert all(420 < mirrored.sum() < 580 for mirrored in epochs)  # 5 standard deviations
    assert not torch.equal(*epochs)


def test_random_states_are_left_alone(sharded: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(Stream(sharded, 8, flip=True).batches(20))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """60 images, of which rows 17 and 44 of the second file are none."""
    coded: list[bytes | None] = [png(k) for k in range(60)]
    coded[27] = b"text"
    coded[54] = None
    write(tmp_path / "bad" / "a.parquet", coded[:10])
    write(tmp_path / "bad" / "b.parquet", coded[10:])
    return tmp_path / "bad"


def test_an_unreadable_image_is_named(spoilt: Path) -> None:
    stream = Stream(spoilt, 8, held_out=4, seed=1)
    with pytest.raises(DataError, match=r"b.parquet row (17 is not an image.*|44 holds no image).* skip_bad=True"):
        list(stream.batches(8))


def test_unreadable_images_can_be_left_out(spoilt: Path, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(spoilt, 8, held_out=4, buffer=10, seed=1, skip_bad=True)
    batches = stream.batches(8)
    whole = list(batches)
    assert [len(x) for x in whole] == [8] * 7
    seen = {number for x in whole for number in numbers(x)}
    assert seen == set(range(60)) - {27, 54} - set(numbers(stream.held_out))
    assert "row 17 is not an image" in caplog.text
    for start in range(7):
        batches.n = start
        assert all(torch.equal(x, y) for x, y in zip(batches, whole[start:], strict=True))
    with pytest.raises(DataError, match=r"no image of a batch of 1 can be used: .*row"):
        list(stream.batches(1))


def test_a_stream_without_readable_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "bad" / "a.parquet", [b"text"] * 20)
    with pytest.raises(DataError, match=r"none of 2 images of .*bad can be read"):
        Stream(tmp_path / "bad", 8, skip_bad=True)


def test_a_row_cannot_name_a_local_file(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "bad").mkdir()
    rows = [{"bytes": png(k), "path": None} for k in range(19)] + [{"bytes": None, "path": str(folder / "00.png")}]
    parquet.write_table(pa.table({"image": rows}), tmp_path / "bad" / "a.parquet")
    with pytest.raises(DataError, match="row 19 names a file instead of holding an image"):
        list(Stream(tmp_path / "bad", 8).batches(9))


def test_encoded_images_in_a_binary_column_of_one_file_are_read(tmp_path: Path) -> None:
    parquet.write_table(
        pa.table({"n": list(range(20)), "img": [png(k) for k in range(20)]}), tmp_path / "a.parquet"
    )
    stream = Stream(tmp_path / "a.parquet", 8)
    assert sorted(epoch(stream.batches(6)) + numbers(stream.held_out)) == list(range(20))


def test_a_parquet_file_of_the_datasets_library_is_read(tmp_path: Path) -> None:
    features = datasets.Features({"label": datasets.Value("int64"), "picture": datasets.Image()})
    rows = {"label": [0] * 20, "picture": [{"bytes": png(k), "path": None} for k in range(20)]}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "set" / "a.parquet"))
    stream = Stream(tmp_path / "set", 8)
    assert sorted(epoch(stream.batches(6)) + numbers(stream.held_out)) == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": None}, "a stream needs size"),
        ({"size": 0}, "size=0 is invalid"),
        ({"buffer": 0}, "buffer=0 is invalid"),
        ({"held_out": 0}, "held_out=0 is invalid"),
        ({"seed": -1}, "seed=-1 is invalid"),
        ({"fit": "squeeze"}, "fit='squeeze' is invalid: expected one of crop, pad"),
        ({"channels": 0}, "channels=0 is invalid"),
        ({"range": (1, 0)}, r"range=\(1, 0\) is invalid"),
        ({"bits": 4}, "bits=4 is invalid"),
    ],
)
def test_invalid_arguments_are_refused(sharded: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Stream(sharded, **({"size": 8} | arguments))  # pyright: ignore[reportArgumentType]


def test_invalid_sources_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no images"):
        Stream(tmp_path / "empty", 8)
    with pytest.raises(DataError, match="there is no folder"):
        Stream(tmp_path / "nowhere", 8)
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"a.npy cannot be streamed: .* Photos"):
        Stream(tmp_path / "a.npy", 8)
    for image in sorted(folder.rglob("*.png"))[1:]:
        image.unlink()
    with pytest.raises(DataError, match="holds 1 images: a stream needs 2"):
        Stream(folder, 8)


def test_invalid_shards_are_refused(tmp_path: Path, sharded: Path) -> None:
    (tmp_path / "numbers").mkdir()
    parquet.write_table(pa.table({"n": [1, 2]}), tmp_path / "numbers" / "a.parquet")
    with pytest.raises(DataError, match="no column of images among n"):
        Stream(tmp_path / "numbers", 8)
    write(sharded / "train-00002-of-00005.parquet", [png(0)], column="img")
    with pytest.raises(DataError, match=r"train-00002-of-00005.parquet has no column image"):
        Stream(sharded, 8)
    (sharded / "train-00002-of-00005.parquet").write_text("rubbish")
    with pytest.raises(DataError, match=r"the shard .*train-00002-of-00005.parquet cannot be read") as caught:
        Stream(sharded, 8)
    assert "\n" not in str(caught.value)


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    """The footer is whole, the images are gone."""
    write(tmp_path / "set" / "train-0.parquet", [png(k) for k in range(500)], group=100)
    write(tmp_path / "set" / "test-0.parquet", [png(0)])
    stream = Stream(tmp_path / "set", 8)
    path = tmp_path / "set" / "train-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\0" * (len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(DataError, match=r"the shard .*train-0.parquet cannot be read") as caught:
        list(stream.batches(50))
    assert "\n" not in str(caught.value)


def test_invalid_batch_sizes_are_refused(sharded: Path) -> None:
    stream = Stream(sharded, 8, held_out=10)
    with pytest.raises(UsageError, match="batch=0 is invalid"):
        stream.batches(0)
    with pytest.raises(UsageError, match="a batch of 9 cannot be divided over 2 processes"):
        stream.batches(9, 0, 0, 2)
    with pytest.raises(UsageError, match=r"\(rank 2\)"):
        stream.batches(8, 0, 2, 2)
    with pytest.raises(DataError, match="200 images are too few for 300 processes"):
        stream.batches(300, 0, 0, 300)
    assert stream.batches(1000).batch == 200


@pytest.fixture
def hub(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A stand-in for the Hub, whose files are addresses; and the requests it got."""
    requests: list[tuple[str, str | None]] = []

    def builder(name: str, revision: str | None, cache_dir: str) -> SimpleNamespace:
        requests.append((name, revision))
        if name == "someone/else":
            raise FileNotFoundError(f"no dataset {name}\nand a long story")
        files = {"train": [f"file://{path}" for path in sorted(sharded.iterdir())]}
        return SimpleNamespace(config=SimpleNamespace(data_files={"train": ["a.zip"]} if "zip" in name else files))

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    return requests


def test_a_hub_dataset_is_streamed(hub: list[tuple[str, str | None]], sharded: Path) -> None:
    stream = Stream("hf://someone/pictures@v2", 8, held_out=10)
    assert hub == [("someone/pictures", "v2")]
    assert stream.recipe()["data"] == "hf://someone/pictures@v2"
    assert sorted(epoch(stream.batches(20)) + numbers(stream.held_out)) == list(range(210))
    assert stream.held_out_names[0].startswith("file:///")
    with pytest.raises(
        DataError, match="someone/else cannot be read as a dataset: no dataset someone/else"
    ) as caught:
        Stream("hf://someone/else", 8)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"is not in parquet, but has a.zip: .*@refs/convert/parquet"):
        Stream("hf://someone/zipped", 8)


@pytest.mark.parametrize("name", ["cifar10", "landscapes"])
def test_real_datasets_are_streamed(real: Callable[[str], Path], name: str) -> None:
    """Held out are the first images of the one row group of the test split."""
    photos = Photos(real(name), 16, limit=147)
    stream = Stream(real(name), 16, channels=photos.shape[0], held_out=147)
    assert len(stream) == {"cifar10": 50000, "landscapes": 1325}[name]
    if name == "landscapes":
        assert hashes(stream.held_out) == hashes(photos.held_out)
    assert next(iter(stream.batches(64))).shape == (64, *photos.shape)


def test_a_sample_opens_a_few_row_groups_spread_over_the_dataset(
    sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And as many more as it needs; of 25, in the order of the set."""
    stream = Stream(sharded, 8, held_out=10)
    opened, chunks = [], shards.Tables._chunks
    monkeypatch.setattr(shards.Tables, "_chunks", lambda *args: opened.append(args[1:]) or chunks(*args))
    monkeypatch.setattr(shards.Tables, "opened", 5)
    sample = stream.sample("train", 15)
    found = numbers((255 * sample.images).round().to(torch.uint8))
    assert len(set(opened)) in (4, 5)  # a row group of two may have no image among them
    assert [int(name.split()[-1]) + 42 * int(name.split("train-")[1][:5]) for name in sample.names] == found
    assert len({number // 42 for number in found}) >= 4  # files
    assert found == sorted(set(found))
    assert not set(found) & set(numbers(stream.held_out))
    opened.clear()
    assert len(stream.sample("train", 60)) == 60
    assert 5 < len(set(opened)) <= 10  # which hold 60
    everything = stream.sample("train", 200)
    assert torch.equal(everything.images[sample.rows], sample.images)


def test_a_sample_skips_unreadable_images_and_keeps_names_aligned(tmp_path: Path) -> None:
    coded = [png(k) for k in range(40)]
    coded[7] = coded[21] = b"no picture"
    write(tmp_path / "set" / "a.parquet", coded, group=10)
    stream = Stream(tmp_path / "set", 8, held_out=2, skip_bad=True)
    sample = stream.sample("train", 40)
    found = numbers((255 * sample.images).round().to(torch.uint8))
    assert sorted(found + numbers(stream.held_out)) == [k for k in range(40) if k not in (7, 21)]
    assert [int(name.split()[-1]) for name in sample.names] == found
    with pytest.raises(DataError, match="row 7"):
        Stream(tmp_path / "set", 8, held_out=2).sample("train", 40)
