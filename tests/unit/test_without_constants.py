"""bias=False: models without additive constants, D(a x) = a D(x)."""

import itertools

import pytest
import torch
from torch import nn

import copyfold as cf
from copyfold.models.blocks import ScaleNorm
from copyfold.models.unet import Affine, Wide

UNETS = [
    {"skips": skips, "norm": norm, "up": up}
    for skips, norm, up in itertools.product(
        ("none", "self", "concat"), ("none", "batch"), ("transposed", "bilinear")
    )
]


def homogeneous(model, shape):
    """The largest difference of D(a x) and a D(x), over the largest value of a D(x), in float64."""
    model, rng = model.double(), torch.Generator().manual_seed(0)
    for _ in range(2):
        model.train()(torch.rand(4, *shape, generator=rng, dtype=torch.float64))  # running averages other than 1
    x = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    with torch.no_grad(), model.eval().using("running"):
        errors = [(model(a * x) - a * model(x)).abs().max() / (a * model(x)).abs().max() for a in (0.01, 3.0)]
        assert model(x).abs().max() > 0
    return max(errors)


@pytest.mark.parametrize("options", UNETS, ids=lambda options: "-".join(options.values()))
def test_unet_scales_with_its_image(options):
    model = cf.UNet((1, 10, 14), width=4, depth=2, bias=False, **options)
    assert homogeneous(model, (1, 10, 14)) < 1e-9


@pytest.mark.parametrize(
    "model",
    [
        cf.UNet((2, 27, 27), width=4, depth=2, pool=3, bias=False),
        cf.UNet((3, 16, 16), width=4, depth=2, middle=Affine(8, 5), bias=False),
        cf.UNet((3, 16, 16), width=4, depth=2, middle=Wide(4, 9), bias=False),
        cf.Conv((2, 9, 9), (3, 4), norm="batch", bias=False),
        cf.Conv((1, 28, 28), (4, 4), activation="identity", bias=False),
    ],
    ids=lambda model: f"{type(model).__name__}-{model.config}"[:40],
)
def test_other_models_scale_with_their_image(model):
    assert homogeneous(model, model.shape) < 1e-9
    assert not [name for name, _ in model.named_parameters() if "bias" in name]


def test_with_constants_it_does_not_scale():
    assert homogeneous(cf.UNet((1, 8, 8), width=4, depth=1, norm="none"), (1, 8, 8)) > 0.01


@pytest.mark.parametrize("options", [{"norm": "group"}, {"norm": "instance"}, {"output": "sigmoid"}])
def test_what_cannot_scale_is_refused(options):
    with pytest.raises(cf.errors.UsageError, match=r"^bias=False is invalid with"):
        cf.UNet((1, 16, 16), width=4, depth=1, bias=False, **options)
    with pytest.raises(cf.errors.UsageError, match=r"^bias=False is invalid with GELU"):
        cf.Conv((1, 16, 16), (4,), activation="gelu", bias=False)


def test_scale_norm_divides_by_the_root_mean_square():
    rng = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(8, 3, 5, 5, generator=rng)
    norm = ScaleNorm(3)
    nn.init.uniform_(norm.weight, 0.5, 2, generator=rng)
    by_hand = norm.weight.view(3, 1, 1) * x / (x.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), by_hand)
    squares = x.square().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * squares)
    norm.eval().statistics = "running"
    recorded = norm.running_var.clone()
    torch.testing.assert_close(
        norm(2 * x), 2 * norm.weight.view(3, 1, 1) * x / (recorded + 1e-5).sqrt().view(3, 1, 1)
    )
    assert norm.running_var.equal(recorded)


def test_it_can_be_saved_and_loaded(tmp_path):
    model = cf.UNet((1, 16, 16), width=4, depth=1, norm="batch", bias=False).eval()
    model.save(tmp_path)
    again, x = cf.load(tmp_path), torch.rand(2, 1, 16, 16)
    assert torch.equal(again(x), model(x))
    assert again.config["bias"] is False


def test_resumed_training_with_it_is_exact(tmp_path):
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def trained(run, **plan):
        torch.manual_seed(0)
        model = cf.UNet((1, 8, 8), width=4, depth=1, norm="batch", bias=False)
        return cf.fit(model, None, x, run=run, batch=8, seed=0, precision="32", threads=1, **plan)

    whole = trained(tmp_path / "whole", steps=6, schedule="constant").model
    trained(tmp_path / "parts", steps=3, schedule="constant")
    parts = trained(tmp_path / "parts", steps=6, schedule="constant", resume=True).model
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True)
    )


def test_residual_adds_the_image():
    model = cf.UNet((1, 10, 14), width=4, depth=2, skips="concat", norm="none", residual=True)
    x = torch.rand(2, 1, 10, 14, generator=torch.Generator().manual_seed(0))
    plain = cf.UNet((1, 10, 14), width=4, depth=2, skips="concat", norm="none")
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(x), x + plain(x))
        larger = torch.rand(1, 1, 21, 30)
        torch.testing.assert_close(model(larger), larger + plain(larger))
    assert model.code_shapes()[-1] == (1, 12, 16)
    assert (
        homogeneous(cf.UNet((1, 8, 8), width=4, depth=1, skips="concat", bias=False, residual=True), (1, 8, 8))
        < 1e-9
    )
    with pytest.raises(cf.errors.UsageError, match=r"^residual=True is invalid with skips='none'"):
        cf.UNet((1, 8, 8), width=4, depth=1, residual=True)
