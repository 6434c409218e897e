"""`outliers`: scores, thresholds and masks of photos, whatever they are given as."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold.data import scenes
from copyfold.detection import finding
from copyfold.detection.finding import mask_file
from copyfold.detection.sets import named

SIDE = 16


class Middle(cf.Autoencoder):
    """Its reconstruction is the mean of each image."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)

    def encode(self, x):
        return x.mean((1, 2, 3))[:, None]

    def decode(self, z):
        return z[:, :, None, None].expand(-1, *self.shape)


MODEL = Middle((1, SIDE, SIDE))
SCORE = cf.RestorationError(window=0.5)


@pytest.fixture(scope="module")
def normal():
    return cf.Photos(scenes(200, SIDE, 1), progress=False)


@pytest.fixture(scope="module")
def others():
    """Twenty more, of which the last five have a bright square."""
    pixels = scenes(20, SIDE, 1, seed=7)
    pixels[15:, 12:15, 2:6] = 255
    return cf.Photos(pixels, whole=True, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same as files in folders, each with its class."""
    folder = tmp_path_factory.mktemp("folder")
    pixels = scenes(8, SIDE, 1, seed=7)
    pixels[6:, 12:15, 2:6] = 255
    for row, image in enumerate(pixels):
        place = folder / ("good" if row < 6 else "spot") / f"{row:03d}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(place)
    return folder


def test_images_with_a_spot_are_outliers_where_the_spot_is(normal, others):
    found = cf.outliers(MODEL, others, normal, score=SCORE, rate=0.15, progress=False)
    assert len(found) == 20
    assert {15, 16, 17, 18, 19} <= set(found.order[:7].tolist())
    assert found.outlier[15:].all()
    assert (found.marked[15:] > 0).all()
    x, maps = found.maps([15, 3])
    assert torch.equal(x, others.images()[[15, 3]])
    row, column = divmod(int(maps[0].argmax()), SIDE)
    assert 12 <= row < 15
    assert 2 <= column < 6


def test_scores_do_not_depend_on_what_else_is_scored(normal, others):
    every = cf.outliers(MODEL, others, normal, rate=0.15, progress=False)
    few = cf.Photos(others.train[:3], whole=True, progress=False)
    np.testing.assert_allclose(
        cf.outliers(MODEL, few, normal, rate=0.15, progress=False).scores, every.scores[:3], rtol=1e-4
    )


def test_the_threshold_is_of_the_images_held_out(normal):
    """Of the photos themselves where no others are given: both parts are scored."""
    found = cf.outliers(MODEL, normal, score=SCORE, rate=0.15, progress=False)
    assert list(found.names) == [*normal.names, *normal.held_out_names] == named(normal)
    assert list(found.splits) == ["train"] * len(normal) + ["held_out"] * len(normal.held_out)
    np.testing.assert_allclose(found.scores[len(normal) :], found.normal, rtol=1e-5)
    assert found.threshold.count == len(normal.held_out)
    assert (found.normal > found.threshold.value).mean() <= 0.15
    assert found.outlier.sum() == (found.scores > found.threshold.value).sum()


def test_of_whole_photos_one_half_gives_the_threshold(others):
    whole = cf.Photos(scenes(80, SIDE, 1), whole=True, progress=False)
    found = cf.outliers(MODEL, others, whole, rate=0.1, progress=False)
    assert found.threshold.count == 40
    assert found.splits is None


def test_a_table_has_a_row_for_every_image(normal, folder, tmp_path):
    photos = cf.Photos(folder, SIDE, whole=True, progress=False)
    found = cf.outliers(MODEL, photos, normal, score=SCORE, rate=0.15, progress=False)
    with found.save(tmp_path / "found.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == list(photos.names)
    assert [row["label"] for row in rows] == ["good"] * 6 + ["spot"] * 2
    assert [float(row["score"]) for row in rows] == found.scores.tolist()
    assert [row["outlier"] == "true" for row in rows] == found.outlier.tolist()
    table = parquet.read_table(found.save(tmp_path / "found.parquet")).to_pydict()
    assert list(table) == ["path", "label", "score", "p", "outlier", "rate", "marked"]
    assert {float(row["rate"]) for row in rows} == set(table["rate"]) == {0.15}
    assert table["label"] == [0] * 6 + [1] * 2
    assert table["p"] == found.p.tolist()
    with pytest.raises(cf.UsageError, match=r"expected a \.csv or \.parquet file"):
        found.save(tmp_path / "found.txt")


def test_masks_are_white_where_the_map_is_above_its_threshold(normal, folder, tmp_path):
    photos = cf.Photos(folder, SIDE, whole=True, progress=False)
    found = cf.outliers(MODEL, photos, normal, score=SCORE, rate=0.15, marks=tmp_path, progress=False)
    for row, name in enumerate(photos.names):
        path = tmp_path / name
        assert path.is_file() == (found.marked[row] > 0)
        if path.is_file():
            mask = np.asarray(Image.open(path))[..., 0]
            assert np.array_equal(mask > 0, found.maps([row])[1][0].numpy() > found.pixels.value)
            assert (mask > 0).mean() == pytest.approx(found.marked[row])
    assert (tmp_path / "spot" / "007.png").is_file()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.png", "a/b.png"),
        ("b.JPG", "b.JPG.png"),
        ("../../b.tif#0003", "b.tif#0003.png"),
        ("/etc/b.png", "etc/b.png"),
        ("17", "17.png"),
    ],
)
def test_a_mask_is_below_its_folder(name, path, tmp_path):
    assert mask_file(tmp_path, name) == tmp_path / path


def test_a_score_without_maps_has_no_masks(normal, others, tmp_path):
    found = cf.outliers(MODEL, others, normal, score=cf.Mahalanobis(), rate=0.15, progress=False)
    assert found.marked is None
    assert found.maps([0])[1] is None
    assert "marked" not in found.columns()
    with pytest.raises(cf.UsageError, match="needs a score with maps"):
        cf.outliers(
            MODEL, others, normal, score=cf.Mahalanobis(), rate=0.15, marks=tmp_path / "masks", progress=False
        )


def test_what_cannot_be_scored_is_refused(normal, others):
    with pytest.raises(cf.UsageError, match=r"too few normal images for a rate of 1 %: 300 are needed, and 20 "):
        cf.outliers(MODEL, others, normal, rate=0.01, progress=False)
    with pytest.raises(cf.UsageError, match=r"the model is for images of \(1, 16, 16\) .*, the photos are"):
        cf.outliers(MODEL, cf.Photos(scenes(4, 8), whole=True, progress=False), normal, progress=False)
    few = cf.Photos(scenes(12, SIDE, 1), whole=True, progress=False)
    half = r" \(of the 12 one half is learned from, and the threshold is from the other\): "
    with pytest.raises(
        cf.UsageError, match=f"too few normal images to learn from: 16 are needed, there are 6{half}"
    ):
        cf.outliers(MODEL, others, few, rate=0.5, progress=False)
    with pytest.raises(cf.UsageError, match=f"30 are needed, and 6 are held out{half}"):
        cf.outliers(MODEL, others, few, rate=0.1, progress=False)


@pytest.mark.parametrize(("count", "rate"), [(600, 0.05), (300, 0.1), (150, 0.2)])
def test_a_rate_that_is_not_named_is_the_smallest_that_is_possible(count, rate, caplog):
    """A tenth is held out, and a named rate stays as it is named."""
    normal = cf.Photos(scenes(count, SIDE, 1), progress=False)
    with caplog.at_level("INFO", "copyfold"):
        found = cf.outliers(MODEL, normal, score=SCORE, progress=False)
    named = cf.outliers(MODEL, normal, score=SCORE, rate=rate, progress=False)
    assert found.threshold == named.threshold
    assert found.threshold.rate == rate
    assert f"the rate of the threshold is {100 * rate:g} %, since {count // 10} normal images" in found.why
    assert found.why in caplog.messages
    assert named.why == ""
    assert set(found.columns()["rate"][1]) == {rate}
    with pytest.raises(cf.UsageError, match=f"too few normal images for a rate of {50 * rate:g} %"):
        cf.outliers(MODEL, normal, score=SCORE, rate=rate / 2, progress=False)


def test_few_images_are_ranked_without_a_threshold(others, tmp_path):
    """Three are held out, which no rate has enough of."""
    few = cf.Photos(scenes(30, SIDE, 1), progress=False)
    found = cf.outliers(MODEL, others, few, score=SCORE, progress=False)
    assert found.threshold is found.pixels is found.marked is None
    assert not found.outlier.any()
    assert "a threshold takes more than the 3 normal images that are held out" in found.why
    assert {15, 16, 17, 18, 19} <= set(found.order[:7].tolist())
    assert min(found.p) >= 1 / 4
    assert repr(found) == "Outliers(20 images, ranked without a threshold)"
    assert found._repr_html_().count("<img") == 2  # with their maps
    with found.save(tmp_path / "found.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["rate"] for row in rows} == {""}
    assert {row["outlier"] for row in rows} == {"false"}
    assert parquet.read_table(found.save(tmp_path / "found.parquet")).to_pydict()["rate"] == [None] * 20
    with pytest.raises(cf.UsageError, match=r"^too few held-out images for marks, .*: 15 are needed, and 3 are "):
        cf.outliers(MODEL, others, few, score=SCORE, marks=tmp_path / "masks", progress=False)
    assert not (tmp_path / "masks").exists()


def test_images_that_were_trained_on_are_told_by_name_and_pixels(folder, tmp_path):
    """Of the same folder, of a copy of it, and of another with the same names."""
    normal = cf.Photos(folder, SIDE, progress=False)
    parts = dict.fromkeys(normal.names, "train") | dict.fromkeys(normal.held_out_names, "held_out")
    shutil.copytree(folder, tmp_path / "copy")
    shutil.copytree(folder, tmp_path / "other")
    for path in (tmp_path / "other").rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    splits = {}
    for where in (folder, tmp_path / "copy", tmp_path / "other"):
        new = cf.Photos(where, SIDE, whole=True, progress=False)
        splits[where.name] = finding._splits(new, normal, named(new))
    assert splits[folder.name] == splits["copy"] == [parts[name] for name in sorted(parts)]
    assert set(splits["copy"]) == {"train", "held_out"}
    assert splits["other"] is None
    whole = cf.Photos(folder, SIDE, whole=True, progress=False)
    assert finding._splits(whole, whole, named(whole)) is None


def test_a_model_that_diverged_is_refused(normal, others):
    class Diverged(Middle):
        def decode(self, z):
            return super().decode(z) * torch.nan

    with pytest.raises(
        cf.UsageError, match="the scores of 20 of 20 normal images are NaN: the model has diverged"
    ):
        cf.outliers(Diverged((1, SIDE, SIDE)), others, normal, score=SCORE, rate=0.15, progress=False)


def test_memory_does_not_grow_with_the_images(normal, monkeypatch):
    """Images are read a few at a time: never more than a batch at once."""
    from copyfold.detection import sets

    seen = []
    read = sets.as_images
    monkeypatch.setattr(sets, "as_images", lambda pixels: seen.append(len(pixels)) or read(pixels))
    many = cf.Photos(scenes(300, SIDE, 1, seed=3), whole=True, progress=False)
    cf.outliers(MODEL, many, normal, score=SCORE, rate=0.15, progress=False)
    assert sum(seen) == 300 + len(normal.held_out)
    assert max(seen) <= 64


def test_the_result_says_what_it_is(normal, others):
    found = cf.outliers(MODEL, others, normal, score=SCORE, rate=0.15, progress=False)
    assert repr(found).startswith(f"Outliers(20 images, {found.outlier.sum()} above ")
    assert found._repr_html_().count("<img") == 2
