"""copyfold restore: photographs from measurements, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import copyfold as cf
from copyfold import inverse
from copyfold.data import scenes

FAST = ("--ascent.steps=3", "--ascent.from_std=0.3")


@pytest.fixture
def photo(tmp_path):
    """A photograph in colour, and a mask in which a stripe is missing."""
    Image.fromarray(scenes(1, 64)[0]).resize((44, 30)).save(tmp_path / "photo.png")
    mask = np.full((30, 44), 255, np.uint8)
    mask[:, 10:14] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_missing_pixels_are_restored_and_the_others_kept(run, photo, copyfold, tmp_path):
    line = ("restore", run, photo, "--problem=Inpaint", "--mask", tmp_path / "mask.png", *FAST)
    said = copyfold(*line, "--out", tmp_path / "out.png").done()
    assert said.out == [str(tmp_path / "out.png")]
    assert "9.1 % of the pixels are missing" in said.err
    before, after = pixels(photo), pixels(tmp_path / "out.png")
    changed = (before != after).any(axis=(0, 2))
    assert changed[10:14].all()
    assert not np.delete(changed, slice(10, 14)).any()
    copyfold(*line, "--out", tmp_path / "again.png").done()
    assert np.array_equal(after, pixels(tmp_path / "again.png"))


def test_the_options_reach_the_solver(run, photo, copyfold, tmp_path, monkeypatch):
    """What they do is tested there: the network of the run has hardly learned anything."""
    seen = []
    monkeypatch.setattr(inverse, "solve", lambda *given, **more: seen.append((given, more)) or given[2][None])
    line = ("restore", run, photo, "--problem=Missing", "--problem.rate=0.9", "--out", tmp_path / "out.png")
    copyfold(*line).done()
    copyfold(*line, "--samples=3", "--seed=5", "--ascent.beta=0.5", "--statistics=batch").done()
    (first, usual), (second, other) = seen
    assert first[1] == second[1] == cf.Missing(0.9)
    assert (first[3], second[3]) == (1, 3)
    told = usual.pop("progress"), other.pop("progress")
    assert all(map(callable, told))
    assert usual == {"ascent": cf.Ascent(), "statistics": "running", "seed": 0}
    assert other == {"ascent": cf.Ascent(beta=0.5), "statistics": "batch", "seed": 5}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--problem=Enlarge", "--problem.factor=4"), (176, 120)),
        (("--problem=Deblur", "--problem.std=1.5"), (44, 30)),
        (("--problem=Missing", "--problem.rate=0.9", "--problem.seed=3"), (44, 30)),
    ],
)
def test_every_problem_has_its_options(options, size, run, photo, copyfold, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert copyfold("restore", run, photo, *options, *FAST).done().out == ["restored/photo.png"]
    assert pixels("restored/photo.png").shape == (size[1], size[0], 3)


def test_a_factor_that_no_photograph_has_is_refused(run, photo, copyfold, tmp_path):
    line = ("restore", run, photo, "--problem=Enlarge", "--out", tmp_path / "out.png", *FAST)
    copyfold(*line, "--problem.factor=9999").refused(3, "photo.png cannot be restored", "at most 100 megapixels")
    copyfold(*line, "--problem.factor=1000000").refused(2, "Enlarge(factor=1000000) is invalid")
    assert not (tmp_path / "out.png").exists()


def test_masks_are_refused_where_they_do_not_fit(run, photo, copyfold, tmp_path):
    line = ("restore", run, photo, *FAST, "--problem")
    out = ("--out", tmp_path / "out.png")
    copyfold(*line, "Inpaint", *out).refused(2, "Inpaint needs --mask", "black where pixels are missing")
    copyfold(*line, "Deblur", "--mask", tmp_path / "mask.png", *out).refused(2, "is not for Deblur")
    copyfold(*line, "Inpaint", "--mask", tmp_path / "none.png", *out).refused(3, "none.png")
    for shade, word in ((0, "no"), (255, "only")):
        Image.new("L", (44, 30), shade).save(tmp_path / "plain.png")
        copyfold(*line, "Inpaint", "--mask", tmp_path / "plain.png", *out).refused(2, f"has {word} known pixels")
    pixels(tmp_path / "mask.png")
    Image.open(tmp_path / "mask.png").resize((30, 44)).save(tmp_path / "turned.png")
    copyfold(*line, "Inpaint", "--mask", tmp_path / "turned.png", *out).refused(
        3, "photo.png cannot be restored", "a mask of 44x30 does not fit images of 30x44"
    )
    assert not (tmp_path / "out.png").exists()


def test_the_result_overwrites_no_photograph_and_has_its_format(run, photo, copyfold, tmp_path):
    line = ("restore", run, photo, "--problem=Deblur", *FAST)
    copyfold(*line, "--out", photo).refused(2, "is the photograph, which would be overwritten")
    copyfold(*line, "--out", tmp_path / "out.jpg").refused(2, "expected a name that ends in .png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    copyfold("restore", run, tmp_path / "broken.png", "--problem=Deblur", *FAST).refused(3, "broken.png")


def test_a_model_of_one_size_is_refused(photo, photos, copyfold, tmp_path):
    copyfold(
        "train", photos, "--size=16", "--model=MLP", "--model.hidden=[8]", "--epochs=1", "--run", tmp_path / "mlp"
    ).done()
    said = copyfold("restore", tmp_path / "mlp", photo, "--problem=Missing", *FAST, "--out", tmp_path / "a.png")
    said.refused(3, "photo.png cannot be restored", "only takes images of 16x16", "use a convolutional model")


def test_levels_that_the_run_was_not_trained_on_are_said(run, photo, photos, tiny, copyfold, tmp_path):
    line = (photo, "--problem=Missing", "--out", tmp_path / "out.png", "--ascent.steps=1")
    assert "not trained to remove white noise" in " ".join(copyfold("restore", run, *line).done().err)
    noise = ("--objective.corruption=Gaussian", "--objective.corruption.std=[0.05, 0.4]")
    copyfold("train", photos, *tiny, *noise, "--epochs=1", "--run", tmp_path / "noisy").done()
    said = copyfold("restore", tmp_path / "noisy", *line).done().err
    assert "trained on noise of std 0.05 to 0.4, and is applied to noise of std 0.01 to 1" in " ".join(said)
    without = ("--model=UNet", "--model.width=4", "--model.norm=none", "--model.bias=false")
    copyfold("train", photos, *tiny, *noise, *without, "--epochs=1", "--run", tmp_path / "free").done()
    assert "was trained on noise" not in " ".join(copyfold("restore", tmp_path / "free", *line).done().err)
    within = ("--ascent.from_std=0.4", "--ascent.to_std=0.05")
    assert "was trained on noise" not in " ".join(
        copyfold("restore", tmp_path / "noisy", *line, *within).done().err
    )


def test_a_problem_of_one_s_own_has_flags(run, photo, copyfold, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_problem.py").write_text(
        "import copyfold as cf\n\n\n"
        "class Columns(cf.Problem):\n"
        '    "Every so many columns are known."\n\n'
        "    def __init__(self, every: int = 2):\n        self.every = every\n\n"
        "    def measure(self, x):\n        y = x * 0\n        y[..., :: self.every] = x[..., :: self.every]\n"
        "        return y\n\n"
        "    def invert(self, m):\n        return self.measure(m)\n"
    )
    line = ("restore", run, photo, "--import=my_problem.py", "--problem=Columns", "--problem.every=3", *FAST)
    copyfold(*line, "--out=out.png").done()
    same = (pixels(photo) == pixels("out.png")).all(axis=(0, 2))
    assert same[::3].all()
    assert not same.all()
