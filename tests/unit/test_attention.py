"""Attention against its definitions, in float64; and the architectures that use it."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import copyfold as cf
from copyfold.models.attention import Residual, attention
from copyfold.models.blocks import receptive_field

KINDS = ["dot", "softmax", "elu"]


def made(kind, channels=5, heads=3, dim_head=4, **switches):
    """An attention in float64 whose norms are not the identity's."""
    module = attention(kind, channels, heads, dim_head, **switches).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def maps(channels=5, height=4, width=6, count=2):
    return torch.randn(count, channels, height, width, dtype=torch.float64)


def parameters(cls, *args, **kwargs):
    with torch.device("meta"):
        return sum(p.numel() for p in cls(*args, **kwargs).parameters())


def features(module, x):
    """Queries, keys and values of every head, b heads n d: the rows of the weight are (q k v), heads, features."""
    rows = module.qkv.weight[:, :, 0, 0].reshape(3, module.heads, -1, x.shape[1])
    return torch.einsum("shdc,bcn->sbhnd", rows, x.flatten(2))


def back(module, y, x):
    """b heads n d through the 1x1 convolution."""
    joined = y.permute(0, 1, 3, 2).flatten(1, 2)
    out = torch.einsum("co,bon->bcn", module.out.weight[:, :, 0, 0], joined) + module.out.bias[:, None]
    return out.reshape(x.shape)


def normalised(x, norm):
    """A group norm of one group: over all channels and positions of an image."""
    mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), unbiased=False, keepdim=True)
    y = (x - mean) / (variance + norm.eps).sqrt()
    return y * norm.weight[:, None, None] + norm.bias[:, None, None]


# ---------------------------------------------------------------- the three kinds


def test_dot_product_is_its_definition():
    module, x = made("dot"), maps()
    q, k, v = features(module, x).detach()
    y = torch.zeros_like(q)
    for b, h, i in torch.cartesian_prod(*(torch.arange(size) for size in q.shape[:3])).tolist():
        agreement = [math.exp(q[b, h, i] @ k[b, h, j] / math.sqrt(4)) for j in range(24)]
        y[b, h, i] = sum(a * v[b, h, j] for j, a in enumerate(agreement)) / sum(agreement)
    torch.testing.assert_close(module(x), back(module, y, x))


def test_linear_softmax_is_its_definition():
    module, x = made("softmax"), maps()
    q, k, v = features(module, x)
    q, k = q.exp() / q.exp().sum(3, keepdim=True) / math.sqrt(4), k.exp() / k.exp().sum(2, keepdim=True)
    context = torch.einsum("bhnd,bhne->bhde", k, v)
    y = torch.einsum("bhnd,bhde->bhne", q, context)
    torch.testing.assert_close(module(x), normalised(back(module, y, x), module.norm))


def test_linear_elu_is_its_quadratic_evaluation():
    module, x = made("elu"), maps()
    q, k, v = features(module, x)
    q, k = (torch.where(t > 0, t + 1, t.exp()) for t in (q, k))
    pairs = torch.einsum("bhid,bhjd->bhij", q, k)
    y = torch.einsum("bhij,bhjd->bhid", pairs / pairs.sum(-1, keepdim=True), v)
    torch.testing.assert_close(module(x), back(module, y, x))


def test_linear_elu_is_finite_where_every_feature_of_a_query_vanishes():
    module = made("elu").float()
    x = torch.randn(1, 5, 4, 4, requires_grad=True)
    with torch.no_grad():
        module.qkv.weight.mul_(1e4)
    module(x).square().sum().backward()
    assert module(x).isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_permutation_equivariant(kind):
    """Permuting the positions of the input permutes those of the output."""
    module, x = made(kind), maps()
    order = torch.randperm(24)
    permuted = x.flatten(2)[:, :, order].reshape(x.shape)
    torch.testing.assert_close(module(permuted), module(x).flatten(2)[:, :, order].reshape(x.shape))


@pytest.mark.parametrize("kind", ["softmax", "elu"])
def test_given_the_context_linear_attention_is_a_function_of_each_position(kind):
    """With the keys and values held, changing one query changes one position; equal queries give equal results."""
    module = made(kind)
    q, k, v = (torch.randn(1, 3, 4, 24, dtype=torch.float64) for _ in range(3))
    other = q.clone()
    other[..., 7] = q[..., 2]
    before, after = module.mix(q, k, v), module.mix(other, k, v)
    torch.testing.assert_close(after[..., 7], before[..., 2])
    kept = [i for i in range(24) if i != 7]
    torch.testing.assert_close(after[..., kept], before[..., kept])


@pytest.mark.parametrize("kind", ["dot", "elu"])
def test_outputs_of_dot_product_and_elu_lie_between_the_values(kind):
    """Their weights are positive and sum to one; those of "softmax" sum to 1 / sqrt(d)."""
    q, k, v = (torch.randn(1, 3, 4, 24, dtype=torch.float64) for _ in range(3))
    ones = made(kind).mix(q, k, torch.ones_like(v))
    torch.testing.assert_close(ones, torch.ones_like(v))
    torch.testing.assert_close(made("softmax").mix(q, k, torch.ones_like(v)), torch.full_like(v, 1 / 2))
    y = made(kind).mix(q, k, v)
    assert ((y >= v.amin(-1, keepdim=True)) & (y <= v.amax(-1, keepdim=True))).all()


# ---------------------------------------------------------------- around them


@pytest.mark.parametrize("kind", KINDS)
def test_prenorm_and_residual_are_around_the_attention(kind):
    x = maps()
    module = made(kind, prenorm=True, residual=True)
    stage = module.inside
    torch.testing.assert_close(module(x), x + stage.attention(normalised(x, stage.norm)))
    only = made(kind, residual=True)
    torch.testing.assert_close(only(x), x + only.inside(x))


def test_a_noise_residual_has_the_scripts_mean_and_std():
    x = torch.full((1, 1, 500, 500), 0.3)
    module = Residual(torch.nn.Conv2d(1, 1, 1), "noise").requires_grad_(False)
    torch.nn.init.zeros_(module.inside.weight)
    torch.nn.init.constant_(module.inside.bias, 2.0)
    y = module(x) - 2
    standard_error = 0.95 * 0.2 / 500
    assert abs(y.mean() - (0.05 * 0.3 + 0.95 * 0.5)) < 4 * standard_error
    assert abs(y.std() - 0.95 * 0.2) < 4 * standard_error / math.sqrt(2)
    assert not torch.equal(module(x), module(x))


def test_the_noise_residual_passes_a_twentieth():
    """d(f(x) + s)/dx with f = 0."""
    module = Residual(torch.nn.Conv2d(2, 2, 1), "noise")
    torch.nn.init.zeros_(module.inside.weight)
    x = torch.rand(1, 2, 3, 3, requires_grad=True)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 0.05))


# ---------------------------------------------------------------- derivatives


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    assert torch.autograd.gradcheck(made(kind, heads=2, dim_head=3), maps(height=2, width=3).requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_float32_gradients_are_those_of_float64(kind):
    module, x = made(kind), maps()
    exact = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    single = module.float()
    found = torch.autograd.grad(single(x.float()).square().sum(), list(single.parameters()))
    for a, b in zip(found, exact, strict=True):
        assert (a - b).norm() < 1e-4 * b.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_a_penalty_on_the_jacobian_can_be_minimised(kind):
    """Second derivatives; of dot-product attention with torch's plain kernel, which its docstring names."""
    module, x = made(kind, heads=2, dim_head=3), maps(height=2, width=3).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(module, x)
        (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert module.qkv.weight.grad.abs().sum() > 0


def test_the_fused_kernel_is_used_and_agrees_with_the_plain_one():
    module, x = made("dot").float(), maps().float()
    fused, kept = largest_kept(module, x)
    with sdpa_kernel(SDPBackend.MATH):
        plain, of_pairs = largest_kept(module, x)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    assert kept < of_pairs == 2 * 3 * 24 * 24, "a matrix of all pairs of positions was kept"


def largest_kept(module, x):
    """The output, and the numbers in the largest tensor that is kept for the gradient."""
    sizes = []

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        return module(x), max(sizes)


# ---------------------------------------------------------------- the models


def linear(c, inner=128):
    """Parameters of linear softmax attention: qkv, out, its norm."""
    return 3 * inner * c + inner * c + c + 2 * c


def test_the_essay_s_networks_have_their_parameters():
    assert parameters(cf.SingleAttention, (3, 32, 32), kind="dot", channels=None) == 1539
    skips = sum(linear(c) for c in (64, 128, 256, 512))
    assert parameters(cf.AttentionUNet, (3, 128, 128), width=64) == 31_037_763 + skips == 31_532_163
    convolutions = 9 * (3 * 64 + 64 * 64) + 4 * 64 + 2 * (9 * 64 * 64) + 4 * 64 + 64 * 3 + 3
    assert parameters(cf.SingleAttention, (3, 32, 32)) == convolutions + linear(64)


def test_the_diffusion_unet_has_the_parameters_of_its_list():
    def block(a, b):
        return 9 * a * b + 9 * b * b + 6 * b + (a * b + b if a != b else 0)

    def stage(a, b):
        return block(a, b) + block(b, b) + 2 * b + linear(b)

    first = 49 * 3 * 84 + 84
    down = stage(84, 128) + stage(128, 256) + stage(256, 512) + 16 * (128**2 + 256**2) + 128 + 256
    middle = 2 * block(512, 512) + 2 * 512 + 4 * 128 * 512 + 512
    up = stage(1024, 256) + stage(512, 128) + 16 * (256**2 + 128**2) + 256 + 128
    last = block(128, 128) + 3 * 128 + 3
    assert parameters(cf.DiffusionUNet, (3, 128, 128)) == first + down + middle + up + last == 29_840_403


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("channels", [None, 4])
def test_every_single_attention_splits_at_its_code(kind, prenorm, residual, channels):
    switches = {"heads": 2, "dim_head": 4, "prenorm": prenorm, "residual": residual}
    model = cf.SingleAttention((3, 8, 8), kind, channels, **switches).eval()
    x = torch.rand(2, 3, 8, 8)
    z = model.encode(x)
    assert z.shape == (2, channels or 3, 8, 8)
    assert torch.equal(model.decode(z), model(x))
    if channels is None:
        assert torch.equal(model(x), z)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_every_kind_of_attention_unet_copies_shapes(kind, norm):
    model = cf.AttentionUNet((3, 16, 16), width=4, depth=2, kind=kind, heads=2, dim_head=4, norm=norm)
    x = torch.rand(2, 3, 16, 16)
    assert [m.shape for m in model.encode(x)] == [(2, 16, 4, 4), (2, 8, 8, 8), (2, 4, 16, 16)]
    assert model(x).shape == x.shape
    assert all(
        type(up.attention) is type(attention(kind, 4)) for name, up in model.decoder.items() if "up" in name
    )


def test_the_attention_unet_is_a_unet_with_attention_in_its_skips():
    """With every attention replaced by the identity it is the U-Net with skips, weight for weight."""
    plain = cf.UNet((3, 16, 16), width=4, depth=2, skips="concat").eval()
    model = cf.AttentionUNet((3, 16, 16), width=4, depth=2, heads=2, dim_head=4).eval()
    x = torch.rand(2, 3, 16, 16)
    for name in ("up1", "up2"):
        model.decoder[name].attention = torch.nn.Identity()
    with torch.no_grad():
        for mine, its in zip(model.parameters(), plain.parameters(), strict=True):
            mine.copy_(its)
    torch.testing.assert_close(model(x), plain(x))


def test_every_skip_of_the_attention_unet_passes_through_attention():
    model = cf.AttentionUNet.tiny().eval()
    deepest, *skips = model.encode(torch.rand(2, 3, 16, 16))
    for name in ("up1", "up2"):
        torch.nn.init.zeros_(model.decoder[name].attention.norm.weight)
    assert torch.equal(
        model.logits((deepest, *skips)), model.logits((deepest, *(torch.randn_like(s) for s in skips)))
    )


def test_the_diffusion_unet_keeps_the_maps_that_the_script_joins():
    model = cf.DiffusionUNet((3, 16, 16), width=6, multiples=(1, 2, 4), heads=2, dim_head=4)
    x = torch.rand(2, 3, 16, 16)
    assert [m.shape for m in model.encode(x)] == [(2, 24, 4, 4), (2, 24, 4, 4), (2, 12, 8, 8)]
    assert model(x).shape == x.shape
    assert torch.equal(model(x), model(x))


def test_every_residual_of_the_diffusion_unet_is_replaced():
    options = {"width": 6, "multiples": (1, 2), "heads": 2, "dim_head": 4}
    noisy = cf.DiffusionUNet((3, 8, 8), residual="noise", **options).eval()
    residuals = [m for m in noisy.modules() if isinstance(m, Residual)]
    assert len(residuals) == 2 * 3 + 3 + 3 + 1
    assert {m.residual for m in residuals} == {"noise"}
    x = torch.rand(2, 3, 8, 8)
    torch.manual_seed(3)
    first, second = noisy(x), noisy(x)
    torch.manual_seed(3)
    assert torch.equal(noisy(x), first)
    assert not torch.equal(second, first)


def test_attention_sees_the_whole_image():
    large = (3, 256, 256)
    model = cf.AttentionUNet(large, width=2, depth=1)
    assert receptive_field(model.modules()) is None
    assert model.summary().code_field == receptive_field(model.encoder.modules()) == 14
    assert model.summary().output_field is None


def test_invalid_settings_are_refused():
    for cls, options, words in (
        (cf.AttentionUNet, {"depth": 7}, "would pad them to 128x128: give larger images"),
        (
            cf.AttentionUNet,
            {"depth": 1, "kind": "linear"},
            "kind='linear' is invalid: expected one of dot, softmax",
        ),
        (cf.AttentionUNet, {"depth": 1, "norm": "power"}, "norm='power'"),
        (cf.AttentionUNet, {"depth": 31}, "depth=31 is invalid"),
        (cf.SingleAttention, {"channels": 0}, "channels=0"),
        (cf.SingleAttention, {"heads": 0}, "heads=0"),
        (cf.SingleAttention, {"dim_head": -1}, "dim_head=-1"),
        (cf.DiffusionUNet, {"multiples": (1,) * 8}, "would pad them to 128x128"),
        (cf.DiffusionUNet, {"multiples": 2}, r"multiples=2 is invalid: .*as in \[2\]"),
        (cf.DiffusionUNet, {"multiples": (1,)}, "stages=1"),
        (cf.DiffusionUNet, {"multiples": (1, 0)}, r"multiples\[1\]=0"),
        (cf.DiffusionUNet, {"width": 2}, "width=2"),
        (cf.DiffusionUNet, {"residual": "none"}, "expected one of plain, noise"),
    ):
        with pytest.raises(cf.UsageError, match=words):
            cls((3, 22, 14), **options)
    with pytest.raises(cf.UsageError, match="leave a single position"):
        cf.AttentionUNet((3, 16, 16), depth=4, norm="instance")
