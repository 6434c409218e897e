"""What functions are given from Python: a model, photos from any source, images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import copyfold as cf


def plain(function):
    """A function without the types that tests check of every call."""
    return getattr(function, "__wrapped__", function)


CALLS = {
    "outliers": lambda model, x: plain(cf.outliers)(model, x[:, 0].numpy()),
    "similar": lambda model, x: plain(cf.similar)(model, x[:, 0].numpy()),
    "diagnose": lambda model, x: plain(cf.diagnose)(model, x[:, 0].numpy()),
    "duplicates": lambda model, x: plain(cf.duplicates)(x[:, 0].numpy(), model),
    "restore": lambda model, x: plain(cf.restore)(model, x),
    "solve": lambda model, x: plain(cf.solve)(model, cf.Enlarge(2), x),
}


def model():
    torch.manual_seed(0)
    return cf.UNet((1, 16, 16), width=4, depth=1).eval()


def images(count=2):
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("runs/first", "a str"),
        (SimpleNamespace(model=model()), "a SimpleNamespace"),
        (nn.Conv2d(1, 1, 3), "a Conv2d"),
        (cf.UNet, "the class UNet"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_give(name, given, said):
    with pytest.raises(cf.UsageError, match=rf"{said} is no Autoencoder: give run\.model, cf\.load\(folder\), or"):
        CALLS[name](given, images(40))


@pytest.mark.parametrize("name", ["restore", "solve"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: (x * 255).to(torch.uint8), r"2x1x16x16 uint8: expected floats in \[0, 1\]"),
        (lambda x: x * 255, r"values up to 25\d\.?\d*: expected \[0, 1\]"),
        (lambda x: x.double(), r"torch\.float64 and the model is torch\.float32: give x\.to\(torch\.float32\)"),
        (lambda x: x.where(x < 0.9, torch.inf), "hold NaN or infinite values"),
        (lambda x: x.where(x < 0.9, torch.nan), "hold NaN or infinite values|pixels are NaN that"),
        (lambda x: x[0], "a tensor of 1x16x16: expected batch x channels x height x width"),
        (lambda x: x.numpy(), "a ndarray: expected a tensor"),
    ],
)
def test_what_are_no_images_is_refused_with_what_to_give(name, change, said):
    with pytest.raises(cf.UsageError, match=said):
        CALLS[name](model(), change(images()))


def test_a_pixel_that_a_problem_measures_may_not_miss():
    known = torch.ones(1, 16, 16, dtype=torch.bool)
    with pytest.raises(cf.UsageError, match="pixels are NaN that the problem measures"):
        cf.solve(model(), cf.Inpaint(known), images().where(images() < 0.9, torch.nan))


def test_noise_leaves_the_range_and_is_no_mistake():
    noisy = cf.Gaussian(2.0)(images(), torch.Generator().manual_seed(2))
    assert noisy.abs().max() > 5
    assert cf.restore(model(), noisy).isfinite().all()


def test_pixels_that_a_problem_does_not_measure_may_be_missing():
    known = torch.ones(1, 16, 16, dtype=torch.bool)
    known[:, 4:8] = False
    given = images().where(known, torch.nan)
    ascent = cf.Ascent(from_std=0.3, to_std=0.2)
    (x,) = cf.solve(model(), cf.Inpaint(known), given, ascent=ascent)
    assert torch.allclose(x[:, known], given[:, known], atol=1e-5)
    assert x.isfinite().all()


@pytest.mark.parametrize("source", ["an array", "a tensor", "a folder"])
def test_any_source_of_images_is_read_at_the_model_s_size(source, tmp_path):
    pixels = (torch.rand(40, 24, 24, generator=torch.Generator().manual_seed(3)) * 255).to(torch.uint8).numpy()
    given = {"an array": pixels, "a tensor": torch.from_numpy(pixels)[:, None]}.get(source)
    if given is None:
        from PIL import Image

        given = tmp_path
        for n, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / f"{n:02d}.png")
    whole, divided = cf.Photos(given, 16, whole=True), cf.Photos(given, 16)
    network = model()
    np.testing.assert_array_equal(cf.outliers(network, given).scores, cf.outliers(network, whole).scores)
    np.testing.assert_array_equal(
        cf.outliers(network, whole, normal=given).scores, cf.outliers(network, whole, normal=divided).scores
    )
    np.testing.assert_array_equal(cf.similar(network, given, given).rows, cf.similar(network, whole, whole).rows)


def test_a_diagnosis_of_any_source_divides_it_as_fit_does(monkeypatch):
    class Enough(Exception):
        pass

    def look(model, photos, run, seed):
        seen.append(photos)
        raise Enough

    seen = []
    monkeypatch.setattr("copyfold.report.diagnosis.Context.of", look)
    pixels = images(40)[:, 0].numpy()
    with pytest.raises(Enough):
        cf.diagnose(model(), pixels, seed=3)
    assert seen[0].held_out_names == cf.Photos(pixels, 16, seed=3).held_out_names
    assert seen[0].held_out_names != cf.Photos(pixels, 16).held_out_names


@pytest.mark.parametrize("function", [cf.outliers, cf.similar])
def test_a_stream_is_refused_where_images_are_asked_for_again(function):
    stream = object.__new__(cf.Stream)
    with pytest.raises(cf.UsageError, match=r"a Stream has no image that could be asked for again: give Photos\("):
        plain(function)(model(), stream)
