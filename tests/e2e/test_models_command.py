"""`copyfold models`: architectures are listed, described and drawn."""

import inspect
import re

import numpy as np
import pytest
from PIL import Image

from copyfold import catalogue
from copyfold.models.base import Autoencoder

MODELS = catalogue.classes(Autoencoder)


def test_every_architecture_is_listed_with_one_line(copyfold):
    lines = copyfold("models").done().out
    assert [line.split()[0] for line in lines] == list(MODELS)
    for line, cls in zip(lines, MODELS.values(), strict=True):
        assert line.endswith((cls.__doc__ or "").splitlines()[0])


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_is_described(name, copyfold):
    said = copyfold("models", name).done().out
    _, *options = inspect.signature(MODELS[name]).parameters
    assert said[0].startswith(f"{name}: ")
    assert [line.split()[0] for line in said if line.startswith("  --model.")] == [f"--model.{o}" for o in options]
    assert len([line for line in said if line.startswith("  image ")]) == 1
    assert "parameters; " in said[-1]


def test_models_has_the_options_and_sizes_of_train(copyfold):
    given = ("--model.width=8", "--model.depth", "2", "--model.skips=concat", "--model.middle=Affine")
    said = copyfold("models", "UNet", *given, "--size=32", "--channels=1").done().out
    assert "UNet(width=8, depth=2, skips=concat, middle=Affine) for images of 1×32×32:" in said
    (code,) = (line for line in said if line.endswith("the code"))
    assert code.split()[:2] == ["encoder.squeeze", "100"]
    assert [line.split()[-1] for line in said if " takes " in line] == ["encoder.down1", "encoder.stem"]
    assert "  --model.skips       none        none, self or concat" in said
    assert any(line.startswith("  --model.middle") and "Affine" in line for line in said)


def test_a_network_larger_than_memory_can_be_drawn(copyfold, tmp_path):
    picture = tmp_path / "new" / "large.png"
    said = copyfold("models", "UNet", "--model.width=4096", "--size=512", "--picture", picture).done().out
    assert said[-1] == str(picture)
    assert re.match(r"138,\d{3},\d{3},\d{3} parameters; ", said[-2])
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert image.format == "PNG"
    assert (pixels == 255).all(-1).mean() > 0.5
    coloured = np.ptp(pixels, axis=-1) > 60
    assert coloured[:, : pixels.shape[1] // 2].mean() > 0.005
    assert coloured[:, pixels.shape[1] // 2 :].mean() > 0.005


def test_errors_of_models_are_one_line(copyfold, tmp_path):
    models = lambda line: copyfold("models", *line.split())  # noqa: E731
    models("Unet").refused(2, "no Autoencoder is called 'Unet'", "did you mean UNet?")
    models("Gaussian").refused(2, "choose one of", "Conv", "UNet")
    models("UNet MLP").refused(2, "unexpected argument 'MLP'")
    models("UNet --model=MLP").refused(2, "name the architecture first")
    models("--picture=all.png").refused(2, "name it first")
    models("UNet --model.widht=3").refused(2, "did you mean width?")
    models("UNet --size=10 --model.depth=7").refused(2, "would pad them to 128x128")
    models("UNet --size=0").refused(2, "--size=0 is invalid")
    models("UNet --size=4x").refused(2, "--size='4x' is invalid", "48x64")
    models("UNet --channels=1000000000000").refused(2, "--channels 1000000000000 is invalid")
    wrong = tmp_path / "unet.jpg"
    copyfold("models", "UNet", "--picture", wrong).refused(2, str(wrong), "PNG", ".png")
    assert not wrong.exists()


def test_help_of_models_has_an_example(copyfold):
    said = " ".join(copyfold("models", "--help").done().out)
    assert "copyfold models [NAME]" in said
    assert "--picture" in said


def test_a_core_is_given_as_in_train(copyfold):
    said = (
        copyfold("models", "Variational", "--core=MLP", "--core.hidden=[12]", "--size=8", "--channels=1")
        .done()
        .out
    )
    assert (
        "Variational(MLP, latent_dim=32) for images of 1×8×8:" in said
        or "Variational(MLP) for images of 1×8×8:" in said
    )
    assert any("780 parameters" in line for line in said)  # 64 x 12 + 12


def test_the_computation_of_a_vae_is_drawn_and_that_of_another_model_is_not(tmp_path, copyfold):
    drawn = tmp_path / "vae.png"
    said = copyfold("models", "Variational", "--size=16", "--graph", drawn).done()
    assert said.out[-1] == str(drawn)
    assert drawn.stat().st_size > 1000
    copyfold("models", "UNet", "--graph", tmp_path / "unet.png").refused(2, "--graph", "expected Variational")
