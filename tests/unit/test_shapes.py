"""Images of any height and width: padded inside a model, cropped back, and the same everywhere else."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import copyfold as cf
from copyfold.restoration import restore

PADDED = [
    partial(cf.UNet, width=2, depth=3),
    partial(cf.UNet, width=2, depth=2, skips="concat", up="bilinear"),
    partial(cf.UNet, width=4, depth=2, middle=cf.Affine(6, 3)),
    partial(cf.UNet, width=2, depth=2, middle=cf.Wide(3, 5)),
    partial(cf.UNet, width=2, depth=3, pool=3),
    partial(cf.Conv, channels=(2, 3, 4, 5)),
    partial(cf.AttentionUNet, width=2, depth=3, heads=2, dim_head=4),
    partial(cf.DiffusionUNet, width=8, multiples=(1, 2, 4), heads=2, dim_head=4),
]


@pytest.mark.parametrize("make", PADDED)
@pytest.mark.parametrize("sides", [(13, 22), (22, 13), (9, 40), (1, 7)])
def test_padding_inside_is_padding_outside(make, sides):
    """The code and the output of the same layers on images that are padded by hand, and cropped."""
    model = make((1, *sides)).eval()
    height, width = model.inner_shape[1:]
    assert (height, width) != sides
    assert height >= sides[0]
    assert width >= sides[1]
    larger = make((1, height, width)).eval()
    assert larger.inner_shape == larger.shape
    larger.load_state_dict(model.state_dict())
    x = torch.rand(3, 1, *sides)
    by_hand = F.pad(x, (0, width - sides[1], 0, height - sides[0]), mode="replicate")
    for code, expected in zip(
        cf.models.base.maps(model.encode(x)), cf.models.base.maps(larger.encode(by_hand)), strict=True
    ):
        assert torch.equal(code, expected)
    assert torch.equal(model(x), larger(by_hand)[..., : sides[0], : sides[1]])
    assert model(x).shape == model.decode(model.encode(x)).shape == x.shape
    assert f"{sides[0]}x{sides[1]} is padded to {height}x{width} inside the model" in str(model.summary())
    assert "padded" not in str(larger.summary())


@pytest.mark.parametrize("make", PADDED)
def test_a_padded_model_is_saved_and_loaded(make, tmp_path):
    model, x = make((1, 13, 22)).eval(), torch.rand(2, 1, 13, 22)
    model.save(tmp_path)
    again = cf.load(tmp_path)
    assert again.inner_shape == model.inner_shape
    assert torch.equal(again(x), model(x))


def test_images_of_other_sizes_come_back_at_their_own():
    """Also of the very size that images of `shape` are padded to, whose codes are decoded to `shape`."""
    model = cf.UNet((1, 30, 45), width=2, depth=4, norm="none").eval()
    assert model.inner_shape == (1, 32, 48)
    for sides in ((30, 45), (32, 48), (31, 47), (16, 16), (5, 70), (64, 96)):
        assert model(torch.rand(2, 1, *sides)).shape == (2, 1, *sides)
    x = torch.rand(2, 1, 32, 64)
    assert torch.equal(
        model(x[..., :48].contiguous()), model(F.pad(x[..., :48], (0, 16, 0, 0), mode="replicate"))[..., :48]
    )


def test_layers_do_not_notice_whole_sizes():
    model, x = cf.UNet((1, 32, 16), width=2, depth=3).eval(), torch.rand(2, 1, 32, 16)
    assert model.padded(x) is x
    y = model.decoder["head"](torch.rand(2, 2, 32, 16))
    assert model.cropped(y) is y


def test_repeated_pixels_get_the_gradient_of_their_copies():
    """A derivative of every order, and under vmap, as penalties need them."""
    model = cf.UNet((1, 3, 5), width=2, depth=2, norm="none").double().eval()
    x = torch.rand(2, 1, 3, 5).double()
    assert torch.autograd.gradcheck(model, x.requires_grad_(), atol=1e-4)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda image: model(image[None])[0]))(x.detach())
    assert jacobian.shape == (2, 1, 3, 5, 1, 3, 5)
    assert jacobian.isfinite().all()


@pytest.mark.parametrize("penalty", [cf.Contraction(estimator="exact"), cf.Contraction(estimator="hutchinson")])
def test_a_contraction_of_a_padded_model_has_gradients(penalty):
    model = cf.UNet((1, 5, 6), width=2, depth=2, norm="none")
    sum(cf.Classical(penalties=(penalty,))(model, torch.rand(2, 1, 5, 6)).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_variational_model_says_how_its_core_pads():
    model = cf.Variational(cf.UNet((1, 13, 22), width=2, depth=3), latent_dim=3).eval()
    x = torch.rand(2, 1, 13, 22)
    assert model.inner_shape == (1, 16, 24)
    assert "13x22 is padded to 16x24" in str(model.summary())
    assert model(x).shape == x.shape
    assert model.decode(torch.randn(4, 3)).shape == (4, 1, 13, 22)


def test_restoring_uses_a_padded_model_as_it_was_trained_and_takes_any_size():
    model = cf.UNet((1, 13, 22), width=2, depth=3, norm="none").eval()
    x = torch.rand(2, 1, 13, 22)
    with torch.no_grad():  # as restore: with gradients some processors round otherwise
        assert torch.equal(restore(model, x), model(x).clamp(0, 1))
    for sides in ((16, 24), (50, 31), (3, 5)):
        assert restore(model, torch.rand(1, 3, *sides)).shape == (1, 3, *sides)


# ---------------------------------------------------------------- shapes in the wrong order


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 48, 4), (28, 28, 1), [64, 64, 3]])
@pytest.mark.parametrize(
    "make", [cf.UNet, cf.MLP, partial(cf.adopt, nn.Identity(), encode="forward", decode="forward")]
)
def test_height_width_channels_is_recognised(make, shape):
    right = rf"as in \({shape[2]}, {shape[0]}, {shape[1]}\)"
    with pytest.raises(cf.UsageError, match=rf"looks like \(height, width, channels\): expected .*{right}"):
        make(shape=shape)


@pytest.mark.parametrize("shape", [(12, 1000, 1), (3, 3, 3), (16, 4, 4), (1, 64, 3), (32, 4, 3), (5, 6, 2)])
def test_narrow_images_are_no_mistake(shape):
    assert cf.MLP(shape, [2], 2).shape == shape


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: cf.MLP((1, 4, 4), hidden=3),
            r"hidden=3 is invalid: expected a list of whole numbers, as in \[3\]",
        ),
        (lambda: cf.Conv((1, 4, 4), channels=3), r"channels=3 is invalid: .*as in \[3\]"),
        (lambda: cf.MLP((1, 4, 4), hidden="3"), r"hidden='3' is invalid: .*as in \[8, 16\]"),
    ],
)
def test_one_number_in_place_of_a_list_is_refused(make, words):
    with pytest.raises(cf.UsageError, match=words):
        make()


# ---------------------------------------------------------------- from an array


def test_fit_reads_an_array_at_the_model_s_own_shape(tmp_path):
    """The outsider's check."""
    run = cf.fit(cf.MLP((1, 32, 64), [16], 4), None, torch.rand(48, 1, 32, 64), tmp_path / "run", steps=5)
    assert run.model.shape == (1, 32, 64)
    assert (run.recipe["size"], run.data["shape"]) == ("32x64", [1, 32, 64])
    assert run.data["train"] + run.data["held_out"] == 48


def test_fit_reads_a_file_and_a_folder_in_the_model_s_size_and_channels(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (20, 20, 30, 3), dtype=np.uint8))
    run = cf.fit(cf.Linear((1, 10, 15), 2), photos=tmp_path / "x.npy", run=tmp_path / "r", steps=2, seed=3)
    assert (run.recipe["size"], run.recipe["channels"], run.recipe["seed"]) == ("10x15", 1, 3)
    assert run.recipe["data"] == str(tmp_path / "x.npy")
    run = cf.fit(cf.Linear((1, 8, 8), 2), run=tmp_path / "digits", steps=2)
    assert run.data["shape"] == [1, 8, 8]


def test_photos_of_another_shape_are_refused_with_the_order_of_a_shape(tmp_path):
    photos = cf.Photos(torch.rand(9, 1, 8, 16))
    with pytest.raises(
        cf.UsageError, match=r"\(1, 16, 8\) \(channels, height, width\), .*: make it for photos.shape"
    ):
        cf.fit(cf.Linear((1, 16, 8), 2), photos=photos, run=tmp_path / "r", steps=1)


def test_a_diagnosis_s_advice_for_rectangles_can_be_followed():
    array = torch.rand(40, 1, 20, 30)
    model = cf.Linear((1, 10, 15), 3)
    with pytest.raises(cf.UsageError, match=r"Photos\(\.\.\., size=\(10, 15\), channels=1\)"):
        cf.diagnose(model, cf.Photos(array))
    assert cf.Photos(array, size=(10, 15), channels=1).shape == model.shape
