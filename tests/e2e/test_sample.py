"""Every sampler from the command line, and what its options mean there."""

import numpy as np
import pytest
from PIL import Image

from copyfold import catalogue
from copyfold.samplers.base import Sampler


@pytest.mark.parametrize("name", catalogue.classes(Sampler))
def test_every_sampler_is_reached(name, run, tmp_path, copyfold):
    steps = ["--sampler.steps=2"] if "steps" in catalogue.find(Sampler, name).__dataclass_fields__ else []
    line = ("sample", run, f"--sampler={name}", *steps, "--count=3", "--out")
    for out in ("a.png", "b.png"):
        copyfold(*line, tmp_path / out).done()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.getcolors(10**6)) > 3


@pytest.mark.parametrize(
    "options",
    [
        "--sampler=Interpolation --sampler.kind=spherical",
        "--sampler=PixelInterpolation --sampler.noise_weight=2",
        "--sampler=Walk --sampler.relative=true --sampler.reencode=false",
        "--sampler=DirectedWalk --sampler.reencode=true",
        "--sampler=Traversal --sampler.dim=1 --sampler.unit=prior",
        "--sampler.schedule=Additive --sampler.schedule.rate=0.2",
        "--sampler.schedule=Ramp --sampler.schedule.over=9 --sampler.start_mean=0.6 --sampler.clip=true",
        "--sampler.grow=[[2,32]]",
    ],
)
def test_options_make_another_film(options, run, tmp_path, copyfold):
    words = options.split()
    line = (
        "sample",
        run,
        *[w for w in words if w.startswith("--sampler=")],
        "--sampler.steps=3",
        "--count=3",
        "--out",
    )
    copyfold(*line, tmp_path / "plain.gif").done()
    copyfold(*line, tmp_path / "other.gif", *[w for w in words if not w.startswith("--sampler=")]).done()
    assert (tmp_path / "plain.gif").read_bytes() != (tmp_path / "other.gif").read_bytes()


def test_start_is_read_as_train_reads_it(run, photos, tmp_path, copyfold):
    """Arrays by their layout, grey ones in the model's colours; and unreadable files are left out if asked."""
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(0, 255, (16, 16, 16), np.uint8))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((16, 16, 3), 60 * k, np.uint8)).save(folder / f"{k}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    line = (
        "sample",
        run,
        "--sampler=Walk",
        "--sampler.steps=1",
        "--count=3",
        "--out",
        tmp_path / "a.png",
        "--start",
    )
    copyfold(*line, tmp_path / "grey.npy", "--layout=NHW").done()
    copyfold(*line, folder).refused(3, "broken.png")
    copyfold(*line, folder, "--skip-bad").done()


@pytest.mark.parametrize(
    ("options", "words"),
    {
        "--sampler=Interpolation --sampler.kind=cubic": ("--sampler.kind cubic is invalid", "linear or spherical"),
        "--sampler=Interpolation --count=1": ("at least 2", "--count 2"),
        "--sampler=FittedMixture --sampler.components=500": ("500 components", "more reference images"),
        "--sampler=Traversal --sampler.dim=99999": ("dim=99999 is invalid", "dimensions"),
        "--sampler.grow=[[2,17]]": ("17x17", "multiples of 4; the nearest that can is 16x16"),
        "--sampler.grow=3": ("--sampler.grow",),
    }.items(),
)
def test_wrong_use_says_what_would_be_right(options, words, run, tmp_path, copyfold):
    copyfold("sample", run, *options.split(), "--out", tmp_path / "a.png").refused(2, *words)
    assert not list(tmp_path.iterdir())


def test_help_of_a_fitted_sampler(copyfold):
    said = "\n".join(copyfold("sample", "--sampler.help=FittedMixture").done().out)
    assert "--sampler.components" in said
