"""`copyfold sample`: every sampler and its options."""

import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold import catalogue
from copyfold.samplers.base import Sampler


@pytest.mark.parametrize("name", catalogue.classes(Sampler))
def test_every_sampler_runs_on_the_command_line(name, run, tmp_path, copyfold):
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
def test_options_change_the_film(options, run, tmp_path, copyfold):
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


def test_start_is_read_as_data_of_train(run, photos, tmp_path, copyfold):
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
        "--sampler=Traversal --sampler.dim=99999": ("dim=99999 is invalid", "expected a dimension"),
        "--sampler.grow=3": ("--sampler.grow",),
    }.items(),
)
def test_invalid_sampler_settings_are_refused_before_writing(options, words, run, tmp_path, copyfold):
    copyfold("sample", run, *options.split(), "--out", tmp_path / "a.png").refused(2, *words)
    assert not list(tmp_path.iterdir())


def test_help_of_a_fitted_sampler_lists_its_components(copyfold):
    said = "\n".join(copyfold("sample", "--sampler.help=FittedMixture").done().out)
    assert "--sampler.components" in said


def frames(path, side=96):
    """Rows and columns of the images on a picture, each `side` pixels long."""
    with Image.open(path) as picture:
        return tuple((length + 2) // (side + 2) for length in reversed(picture.size))


def test_a_picture_is_a_strip_for_walks_and_a_grid_for_generated_images(run, tmp_path, copyfold):
    line = ("sample", run, "--count=3", "--out", tmp_path / "a.png")
    for sampler, steps, size in (
        ("Interpolation", 31, (3, 8)),
        ("Walk", 5, (3, 5)),
        ("Traversal", 2, (3, 2)),
        ("Renoising", 5, (1, 3)),
    ):
        copyfold(*line, f"--sampler={sampler}", f"--sampler.steps={steps}").done()
        assert frames(tmp_path / "a.png") == size
    copyfold(*line, "--sampler=Prior").done()
    assert frames(tmp_path / "a.png") == (1, 3)


def test_the_ends_of_an_interpolation_are_the_images_and_the_next_ones(run, tmp_path, copyfold):
    copyfold("sample", run, "--sampler=Interpolation", "--count=4", "--out", tmp_path / "a.png").done()
    with Image.open(tmp_path / "a.png") as picture:
        x = np.asarray(picture).astype(int)
    rows, columns = frames(tmp_path / "a.png")
    for row in range(rows):
        last, first = (
            x[98 * at : 98 * at + 96, 98 * column : 98 * column + 96]
            for at, column in ((row, columns - 1), ((row + 1) % rows, 0))
        )
        assert abs(last - first).max() <= 2  # rounding


@pytest.fixture
def with_model(copied):
    """The run, with another model in it."""

    def made(model):
        shutil.rmtree(copied / "model")
        model.save(copied / "model")
        return copied

    return made


def test_images_that_are_all_the_same_are_reported(run, with_model, tmp_path, copyfold):
    def said(folder, *options):
        lines = copyfold("sample", folder, "--sampler.steps=3", *options, "--out", tmp_path / "a.png").done().err
        return [line for line in lines if "nearly the same" in line or "blank" in line]

    torch.manual_seed(0)
    model = cf.Linear((3, 16, 16), latent_dim=4)
    with torch.no_grad():
        model.decoder[0].weight.mul_(10)
    assert not said(with_model(model))
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        model.decoder[0].bias.uniform_(0, 1)
    (line,) = said(with_model(model))
    assert "the 16 images are nearly the same: they differ by 0.000" in line
    assert "by the sampler FittedGaussian" in line
    with torch.no_grad():
        model.decoder[0].bias.fill_(0.5)
    (line,) = said(with_model(model), "--sampler=Walk")
    assert "the images are blank" in line
    net = cf.UNet((3, 16, 16), width=4, depth=2, skips="concat", norm="none")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    (line,) = said(with_model(net))
    assert "--model.skips none or self" in line


def test_sampling_from_a_missing_prior_gives_a_warning(run, with_model, tmp_path, copyfold):
    line = ("--sampler=Prior", "--out", tmp_path / "a.png")
    said = copyfold("sample", run, *line).done()
    assert [words for words in said.err if "this UNet has no prior" in words and "FittedGaussian" in words]
    vae = with_model(cf.Variational(cf.MLP((3, 16, 16), hidden=(8,), latent_dim=4), latent_dim=2))
    assert not [words for words in copyfold("sample", vae, *line).done().err if "prior" in words]


def test_ascent_says_how_much_noise_it_planned_and_estimated(run, tmp_path, copyfold):
    line = ("sample", run, "--sampler=Ascent", "--sampler.steps=4", "--sampler.h0=0.5", "--count=3")
    said = copyfold(*line, "--sampler.from_std=0.5", "--out", tmp_path / "a.png").done().err
    (levels,) = [words for words in said if words.startswith("the last frame: ")]
    assert re.fullmatch(
        r"the last frame: estimated noise [\d.]+ \([\d.]+ to [\d.]+\), planned noise 0\.454", levels
    )
    assert frames(tmp_path / "a.png") == (1, 3)
    assert [words for words in said if "this UNet takes noise of std 0.5 for noise of std" in words]  # a copier


@pytest.mark.parametrize("sampler", ["Walk", "Renoising", "Ascent"])
def test_a_film_starts_from_one_image_file(sampler, run, photos, tmp_path, copyfold):
    line = ("sample", run, "--sampler", sampler, "--sampler.steps=3", "--start", photos / "00.png")
    for given in ((), ("--statistics=running",)):
        warned = "batch statistics of one image are its own alone" in " ".join(
            copyfold(*line, *given, "--out", tmp_path / "a.png").done().err
        )
        assert warned == (not given)
        assert (tmp_path / "a.png").stat().st_size > 100
    copyfold("train", photos / "00.png", "--run", tmp_path / "r").refused(3, "is a single image: give the folder")


def test_a_walk_of_one_image_without_statistics_of_its_own_says_what_to_do(photos, tmp_path, copyfold):
    """One value per channel has no variance: of a code that is a vector, or a map of one position."""
    words = ("--size=16", "--model=MLP", "--model.hidden=[8]", "--model.norm=batch", "--epochs=1", "--no-pictures")
    copyfold("train", photos, *words, "--run", tmp_path / "r").done()
    walk = (
        "sample",
        tmp_path / "r",
        "--sampler=Walk",
        "--sampler.steps=3",
        "--count=1",
        "--out",
        tmp_path / "a.png",
    )
    said = copyfold(*walk).refused(2, "undefined for one value per channel", "a batch of 2 or more")
    assert said.endswith("or --statistics running")
    assert not (tmp_path / "a.png").exists()
    copyfold(*walk, "--statistics=running").done()
    copyfold(*walk, "--count=2").done()
