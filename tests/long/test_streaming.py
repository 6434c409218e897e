"""A stream of 200,000 images in 64 shards: constant memory, exact resumes after kills, two processes."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from copyfold.data.streaming import Stream

SHARDS, EACH, SIDE, HELD_OUT, BATCH = 64, 3125, 16, 320, 128
BATCHES = (SHARDS * EACH - HELD_OUT) // BATCH  # without a rest

WATCHED = """
import hashlib, os, sys
from pathlib import Path
from copyfold.data.streaming import Stream

folder, log, start, held_out, batch = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
batches = Stream(folder, 16, flip=True, held_out=held_out).batches(batch)
batches.n = start
file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for x in batches:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    digest = hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
    os.write(file, f"{batches.n} {digest} {pages * os.sysconf('SC_PAGE_SIZE')}\\n".encode())
"""


def coded(number: int) -> bytes:
    """An image of noise that says its number in its first pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[0, 0] = pixels[0, -1] = number // 65536, number // 256 % 256, number % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 parquet files of 3,125 images each, in row groups of 625."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        images = [{"bytes": coded(shard * EACH + k), "path": None} for k in range(EACH)]
        parquet.write_table(pa.table({"image": images}), folder / f"{shard:03d}.parquet", row_group_size=625)
    return folder


def start(folder: Path, log: Path, n: int) -> subprocess.Popen[bytes]:
    """A process that streams from batch n on and writes a line for every batch: its number, hash, memory."""
    arguments = [str(folder), str(log), str(n), str(HELD_OUT), str(BATCH)]
    return subprocess.Popen([sys.executable, "-c", WATCHED, *arguments], env=dict(os.environ))


def lines(log: Path) -> list[tuple[int, str, int]]:
    text = log.read_text() if log.exists() else ""
    rows = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [(int(n), digest, int(memory)) for n, digest, memory in rows]


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, int]]:
    """What a process that nobody stops writes down."""
    log = tmp_path_factory.mktemp("whole") / "log"
    assert start(shards, log, 0).wait() == 0
    return lines(log)


def test_memory_does_not_grow_over_an_epoch(whole: list[tuple[int, str, int]]) -> None:
    """The images take 190 MB encoded and 154 MB decoded; 16 MB are more than allocators waver by."""
    assert [n for n, _, _ in whole] == list(range(1, BATCHES + 1))
    memory = [bytes_ for _, _, bytes_ in whole]
    assert max(memory[BATCHES // 10 :]) - memory[BATCHES // 10] < 16e6


def test_a_killed_stream_resumes_at_the_same_place(
    shards: Path, whole: list[tuple[int, str, int]], tmp_path: Path
) -> None:
    """Three kills at random batches, each process going on from what the one before wrote last."""
    log = tmp_path / "log"
    stops = sorted(np.random.default_rng(0).integers(1, BATCHES - 100, 3).tolist())
    for stop in stops:
        process = start(shards, log, len(lines(log)))
        while len(lines(log)) < stop:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert len(lines(log)) < BATCHES
    assert start(shards, log, len(lines(log))).wait() == 0
    assert [row[:2] for row in lines(log)] == [row[:2] for row in whole]


def test_two_processes_read_disjoint_images(shards: Path) -> None:
    stream = Stream(shards, SIDE, held_out=HELD_OUT)
    parts = []
    for rank in range(2):
        batches = stream.batches(BATCH, 0, rank, 2)
        numbers = [said(x[:, :, 0, 0].numpy()) for x in batches]
        assert [len(part) for part in numbers] == [BATCH // 2] * BATCHES
        parts.append(np.concatenate(numbers))
    held_out = said(stream.held_out[:, 0, 0])
    assert sorted(np.concatenate([*parts, held_out]).tolist()) == list(range(SHARDS * EACH))


def said(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.int64) @ np.array([65536, 256, 1])
