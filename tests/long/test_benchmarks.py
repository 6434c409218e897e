"""The benchmarks run at a tiny size, and count correctly."""

import csv
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from copyfold.data import scenes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def ran(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A benchmark that was run with these arguments."""
    line = [sys.executable, BENCHMARKS / f"{name}.py", *arguments]
    return subprocess.run([str(part) for part in line], capture_output=True, text=True, check=False)


def table(name: str, *arguments: object) -> dict[str, list[str]]:
    """The rows of all tables that a benchmark prints, by their first cell."""
    done = ran(name, *arguments)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_nothing_is_decoded_twice() -> None:
    rows = table("data", "--count", 4, "--rounds", 1, "--only", "again")
    found = {name: (cells[0], cells[1].split()[0], cells[2].split()[0], cells[3]) for name, cells in rows.items()}
    assert found.pop("") is not None  # the header
    assert len(found) == 3
    for name, (images, first, second, epoch) in found.items():
        assert int(first) >= int(images) == (4 if "JPEG" in name else 20)
        assert (second, epoch) == ("0", "0")


def test_the_flops_of_a_linear_model_are_those_of_its_two_matrix_products(tmp_path: Path) -> None:
    out, figure = tmp_path / "out.json", tmp_path / "figure.png"
    arguments = ("--quick", "--only", "Linear", "--seconds", 0, "--out", out, "--figure", figure)
    rows = table("scaling", *arguments)
    point = json.loads(out.read_text())["Linear size=48 width=16 batch=2"]
    assert point["infer operations"] == 2 * (2 * 2 * (3 * 48 * 48) * 32)  # each way: batch x pixels x code
    assert "Linear" in rows
    assert figure.stat().st_size > 10_000
    before = out.stat().st_mtime_ns
    assert table("scaling", *arguments) == rows  # from the file
    assert out.stat().st_mtime_ns == before


def test_an_mlp_learns_with_fit_and_with_a_plain_loop(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", scenes(600, 28, channels=1))
    kinds = ("fit", "plain loop, float32")
    rows = table("pythae", tmp_path / "images.npy", "--rounds", 1, "--epochs", 2, "--only", *kinds)
    black = np.square(scenes(600, 28, channels=1) / 255).mean()  # the error of a black image, and of no training
    for kind in kinds:
        assert float(rows[kind][0].replace(",", "")) > 0
        assert 0 < float(rows[kind][-1]) < black


def test_every_option_is_benchmarked() -> None:
    size = ("--width", 2, "--side", 16, "--batch", 2, "--rounds", 1, "--steps", 1)
    rows = table("speed_options", "--no-compile", *size)
    assert {"bf16, channels_last, fused Adam", "bf16, fused Adam"} < rows.keys()  # of the U-Net, of the perceptron
    for name in ("plain: float32, NCHW, Adam in a loop", "bf16, fused Adam", "the same, recomputing activations"):
        assert float(rows[name][0]) > 0
        assert float(rows[name][3]) > 3 * 4 * 835_374 / 2**20  # weights and Adam's two averages, in MiB


# ---------------------------------------------------------------- outliers and duplicates


def module(name: str) -> ModuleType:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def parquet(path: Path, images: np.ndarray, names: list[str]) -> None:
    """Write images with labels in turn, as the sets of the Hub have them."""
    files = []
    for pixels in images:
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "png")
        files.append({"bytes": file.getvalue(), "path": None})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    labels = pa.array(np.arange(len(images)) % len(names))
    found = pa.table({"image": pa.array(files), "label": labels})
    described = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found.replace_schema_metadata({"huggingface": described}), path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small sets by the names that the benchmarks know."""
    root = tmp_path_factory.mktemp("root")
    categories, digits = ["coast", "forest", "mountain", "opencountry"], [str(k) for k in range(10)]
    for seed, part, count in ((0, "train", 300), (1, "test", 60)):
        parquet(root / "landscapes" / f"{part}.parquet", scenes(count, 72, seed=seed), categories)
        parquet(root / "cifar10" / f"{part}.parquet", scenes(count, 32, seed=2 + seed), digits)
        parquet(root / "fashion_mnist" / f"{part}.parquet", scenes(count, 28, 1, seed=4 + seed), digits)
    return root


def test_a_row_of_outliers_that_fails_stops_no_other(root: Path, tmp_path: Path) -> None:
    """Without PyOD, whose rows fail; networks and PCA are measured, and are not measured again."""
    arguments = (root, "--quick", "--out", tmp_path, "--minutes", 10)
    done = ran("outliers", *arguments, "--pyod", shutil.which("false"))
    assert done.returncode == 1, done.stderr
    failed = done.stderr.splitlines()[-1]
    assert failed.startswith("failed, and tried again by the next call: ")
    names = [f"rivals-textures-forest-{method}" for method in ("kNN", "ECOD", "IForest-seed0")]
    assert failed.split(": ")[1].split(", ") == names
    out = tmp_path / "quick"
    assert not list(tmp_path.glob("*.json"))
    assert {path.stem for path in out.glob("*.json")} == {
        "odd-landscapes-copy-60steps-seed0",
        "odd-coast-copy-20steps-seed0",
        "textures-forest-repair-20steps-seed0",
        "classes-fashion_mnist-0-copy-60steps-seed0",
        "rivals-textures-forest-local-contrast",
        "rivals-textures-forest-PCA-error",
        "rivals-textures-forest-PCA-error-256",
        "rivals-textures-forest-PCA-distance",
        "rivals-classes-fashion_mnist-1-PCA-error",
    }
    text = (out / "outliers.csv").read_text()
    rows = {tuple(row.values())[:5]: row for row in csv.DictReader(io.StringIO(text))}
    assert ("odd", "coast", "copy", "Combined", "other categories") in rows
    for data in ("fashion_mnist", "fashion_mnist, unseen", "both, unseen"):
        assert rows["classes", data, "-", "PCA error", "all"]["classes"] == "1"
    # Combined was chosen on class 0
    assert ("classes", "fashion_mnist", "copy", "Combined", "all") in rows
    assert ("classes", "both, unseen", "copy", "Combined", "all") not in rows
    for net, score in (("-", "PCA error"), ("-", "local contrast"), ("repair", "RestorationError")):
        assert 0.5 < float(rows["textures", "forest", net, score, "pixels"]["auroc"]) <= 1
    again = ran("outliers", *arguments)  # PyOD's rows are left out
    assert again.returncode == 0, again.stderr
    assert "..." not in again.stdout
    assert (out / "outliers.csv").read_text() == text


def test_duplicates_beside_hashes_that_fail(root: Path, tmp_path: Path) -> None:
    done = ran("duplicates", root, "--quick", "--out", tmp_path, "--imagehash", shutil.which("false"))
    assert done.returncode == 1, done.stderr
    assert "imagehash.phash failed" in done.stderr
    found = {path.name for path in (tmp_path / "quick").glob("*.json")}
    assert found == {"copies-landscapes-copyfold.json", "copies-cifar10-copyfold.json"}
    rows = json.loads((tmp_path / "quick" / "copies-landscapes-copyfold.json").read_text())
    assert rows[0]["recall"] > 0.5
    assert [row["recall"] for row in rows] == sorted(row["recall"] for row in rows)


def test_the_pace_of_duplicates_is_that_of_all_of_it() -> None:
    done = ran("duplicates", "--pace", "--count", 40)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Duplicates(40 images: ")
    assert "neighbours alone" in done.stdout


def test_pairs_are_counted_as_if_they_were_written_down() -> None:
    duplicates, rng = module("duplicates"), np.random.default_rng(0)
    numbers = rng.integers(0, 200, 600)
    groups = np.split(rng.permutation(600), np.sort(rng.choice(600, 40, replace=False)))
    written = [pair for group in groups for pair in combinations(group.tolist(), 2)]
    hits = sum(numbers[a] == numbers[b] for a, b in written)
    assert duplicates.pairs(groups, numbers.tolist()) == (len(written), hits)
    bits = rng.integers(0, 2, (600, 64)).astype(np.float32)
    first, second = np.triu_indices(600, 1)
    differ = np.abs(bits[first] - bits[second]).sum(1).astype(int)
    every, same = duplicates.apart(bits, numbers)
    assert np.array_equal(every, np.bincount(differ, minlength=65))
    assert np.array_equal(same, np.bincount(differ[numbers[first] == numbers[second]], minlength=65))


def test_what_few_bits_connect_is_one_group() -> None:
    duplicates = module("duplicates")
    bits = np.zeros((5, 64), np.float32)
    bits[1, :2] = bits[2, :4] = 1  # 0 - 1 - 2, each two bits from the next
    bits[3], bits[4] = 1, 1
    found = list(duplicates.joined(bits, np.array([7, 7, 8, 9, 9])))
    assert found[:5] == [(1, 1), (1, 1), (4, 2), (4, 2), (4, 2)]
    assert len(found) == len(duplicates.BITS)


def test_ranks_among_training_images_alone() -> None:
    """-log of the share of rows up to a row, or from it on, whichever is less; one more of both."""
    ranked = module("outliers_rivals").ranked
    train = np.array([[0.0], [1.0], [2.0], [9.0]])  # a long tail to the right
    found = ranked(train, np.array([[9.0], [0.0], [100.0], [-5.0]]))
    # to the right alone, or to the left where it is farther out there
    assert found == pytest.approx(-np.log([2 / 5, 2 / 5, 1 / 5, 1 / 5]))


def test_the_standard_error_of_an_auroc_is_that_of_fresh_samples() -> None:
    outliers, rng = module("outliers"), np.random.default_rng(0)
    drawn = [(rng.normal(size=80), rng.normal(0.8, 2.0, 40)) for _ in range(2000)]
    spread = np.std([outliers.auroc(*pair) for pair in drawn])
    errors = [outliers.standard_error(*pair) for pair in drawn]
    assert np.mean(errors) == pytest.approx(spread, rel=0.05)


def test_defects_are_where_the_image_has_changed() -> None:
    outliers = module("outliers")
    for k in range(12):
        image = np.full((64, 64, 1), 128, np.uint8)
        image[20:] += np.random.default_rng(k).integers(0, 60, (44, 64, 1), np.uint8)
        before = image.copy()
        there = outliers._spoil(image, k)
        changed = np.abs(image[..., 0].astype(int) - before[..., 0])
        assert (changed[there] >= outliers.VISIBLE - 1).all()  # of bytes, which are rounded down
        assert there.sum() > 4
