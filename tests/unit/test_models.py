"""Exact sizes of the architectures, their norms, and results known from linear algebra."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn

import copyfold as cf
from copyfold.models.blocks import BatchNorm, DisjointTranspose, activation, norm, receptive_field

DEEP = ["bilinear", "transposed", "transposed", "transposed", "transposed"]


def parameters(*args, **kwargs) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in cf.UNet(*args, **kwargs).parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_a_transposed_convolution_of_disjoint_blocks_is_torch_s(block, bias):
    generator = torch.Generator().manual_seed(block)
    ours = DisjointTranspose(3, 5, block).double()
    if not bias:
        ours.register_parameter("bias", None)
    theirs = nn.ConvTranspose2d(3, 5, block, stride=block, bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    y, expected = ours(x), theirs(x)
    assert y.shape == expected.shape == (2, 5, 4 * block, 6 * block)
    assert ours(x[:0]).shape == (0, 5, 4 * block, 6 * block)
    torch.testing.assert_close(y, expected)
    above = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    for found, right in zip(
        torch.autograd.grad(y, [x, *ours.parameters()], above),
        torch.autograd.grad(expected, [x, *theirs.parameters()], above),
        strict=True,
    ):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize(
    ("size", "options", "count"),
    [
        (128, {"width": 64, "skips": "self"}, 31_037_763),
        (128, {"width": 128, "skips": "self"}, 124_121_731),
        (128, {"width": 64, "skips": "concat"}, 31_037_763),
        (128, {"width": 64, "skips": "self", "middle": cf.Affine()}, 56_211_759),
        (256, {"width": 64, "skips": "self", "middle": cf.Affine()}, 68_512_047),
        (128, {"width": 128, "skips": "self", "middle": cf.Wide()}, 222_835_347),
        (128, {"width": 64, "depth": 5, "up": DEEP}, 118_770_947),
        (128, {"width": 128, "depth": 5, "up": DEEP}, 475_027_971),
    ],
)
def test_the_essay_s_networks_have_their_parameters(size, options, count):
    assert parameters((3, size, size), **{"depth": 4, **options}) == count


def test_a_wide_middle_keeps_the_size_of_the_map_and_is_affine_of_its_rank():
    middle = cf.Wide(channels=3, latent_dim=7)
    squeeze, expand = middle.squeeze(8, 6, 4), middle.expand(8, 6, 4)
    x = torch.rand(2, 8, 6, 4)
    assert squeeze(x).shape == (2, 7)
    assert expand(squeeze(x)).shape == x.shape
    jacobian = torch.func.jacrev(lambda v: expand(squeeze(v.view(1, 8, 6, 4))).flatten())(x[0].flatten())
    assert torch.linalg.matrix_rank(jacobian) == 7
    with pytest.raises(cf.UsageError, match="even sides"):
        middle.squeeze(8, 5, 4)


@pytest.mark.parametrize("skips", ["none", "self", "concat"])
@pytest.mark.parametrize("up", ["transposed", "bilinear", ["bilinear", "transposed"]])
@pytest.mark.parametrize("side", [27, 29, 30])
def test_pooling_by_3_accepts_any_side_and_restores_it(skips, up, side, tmp_path):
    model = cf.UNet((1, side, side), width=4, depth=2, skips=skips, up=up, pool=3, norm="none").eval()
    x = torch.rand(2, 1, side, side)
    z = model.encode(x)
    assert (z[0] if isinstance(z, tuple) else z).shape == (2, 16, side // 9, side // 9)
    assert model(x).shape == x.shape
    assert model.multiple == (9 if side == 27 else None)
    model.save(tmp_path)
    assert torch.equal(cf.load(tmp_path)(x), model(x))


def test_up_sampling_may_differ_per_level_deepest_first():
    model = cf.UNet((1, 16, 16), width=4, depth=2, up=["bilinear", "transposed"])
    assert isinstance(model.decoder["up1"].up, nn.Upsample)
    assert isinstance(model.decoder["up2"].up, nn.ConvTranspose2d)
    with pytest.raises(cf.UsageError, match="one entry per level"):
        cf.UNet((1, 16, 16), width=4, depth=2, up=["bilinear"])


def test_frozen_layers_lie_between_hidden_ones_and_are_not_trained():
    model = cf.MLP((1, 4, 4), hidden=[20, 20], latent_dim=20, frozen=True)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert [layer.weight.requires_grad for layer in linear] == [True, False, False, False, False, True]
    before = [layer.weight.clone() for layer in linear]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x = torch.rand(8, 1, 4, 4)
    sum(cf.Classical()(model, x).values()).backward()
    optimizer.step()
    moved = [not torch.equal(a, b.weight) for a, b in zip(before, linear, strict=True)]
    assert moved == [True, False, False, False, False, True]
    with pytest.raises(cf.UsageError, match="frozen=True is invalid without hidden layers"):
        cf.MLP((1, 4, 4), hidden=[], frozen=True)


def test_the_essay_s_frozen_network_learns_with_a_quarter_of_its_weights():
    """Five hidden layers of 4000: the four maps between them stay, 64 of 89 million numbers."""
    with torch.device("meta"):
        model = cf.MLP((3, 32, 32), hidden=[4000, 4000], latent_dim=4000, frozen=True)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert frozen == 4 * (4000 * 4000 + 4000)
    assert sum(p.numel() for p in model.parameters()) - frozen == 2 * 3072 * 4000 + 4000 + 3072


@pytest.mark.parametrize("skips", ["none", "self", "concat"])
@pytest.mark.parametrize("up", ["transposed", "bilinear"])
@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "none"])
@pytest.mark.parametrize("middle", [None, cf.Affine(hidden=6, latent_dim=3, activation="gelu")])
def test_every_kind_of_unet_copies_shapes_and_splits(skips, up, norm, middle, tmp_path):
    model = cf.UNet((3, 32, 32), width=4, depth=2, skips=skips, norm=norm, up=up, middle=middle).eval()
    x = torch.rand(2, 3, 32, 32)
    z = model.encode(x)
    assert isinstance(z, tuple) == (skips == "concat")
    first = z[0] if isinstance(z, tuple) else z
    assert first.shape == ((2, 3) if middle else (2, 16, 8, 8))
    assert torch.equal(model.decode(z), model(x))
    model.save(tmp_path)
    assert cf.load(tmp_path).config == model.config
    assert all(p.grad is not None for p in _with_gradients(model, x))


def _with_gradients(model, x):
    model.train()(x).sum().backward()
    return model.parameters()


def test_self_concatenates_the_up_sampled_map_with_itself():
    """One convolution over a map joined with itself is the sum of its halves over the map."""
    stage = cf.models.unet.Up(8, 4, "self", "none", "transposed")
    x = torch.rand(2, 8, 5, 5)
    raised = stage.up(x)
    kernel = stage.conv.conv1.weight
    expected = nn.functional.conv2d(raised, kernel[:, :4] + kernel[:, 4:], stage.conv.conv1.bias, padding=1)
    torch.testing.assert_close(stage.conv.conv1(torch.cat((raised, raised), 1)), expected)
    torch.testing.assert_close(stage(x), stage.conv[1:](expected))


def test_concat_concatenates_the_encoder_map_with_the_up_sampled_one():
    """The output of the layers written out, and its gradients by both maps."""
    stage = cf.models.unet.Up(8, 4, "concat", "none", "transposed").double()
    maps = [torch.rand(2, c, side, side).double().requires_grad_() for c, side in ((8, 5), (4, 10))]
    found, expected = stage(*maps), stage.conv(torch.cat((maps[1], stage.up(maps[0])), dim=1))
    torch.testing.assert_close(found, expected)
    weights = torch.rand_like(found)
    for a, b in zip(*(torch.autograd.grad(y, maps, weights) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_bilinear_up_sampling_aligns_the_corners():
    """As in the scripts: a ramp stays a ramp, from its first value to its last."""
    up = cf.models.unet.Up(8, 4, "none", "none", "bilinear").up
    torch.testing.assert_close(up(torch.linspace(0, 1, 5).expand(1, 8, 5, 5))[0, 0, 0], torch.linspace(0, 1, 10))


def test_the_affine_middle_is_affine_and_of_its_rank():
    middle = cf.Affine(hidden=20, latent_dim=5)
    squeeze, expand = middle.squeeze(8, 4, 4).double(), middle.expand(8, 4, 4).double()
    jacobian = torch.func.jacrev(lambda v: expand(squeeze(v.view(1, 8, 4, 4))).flatten())
    a, b = jacobian(torch.randn(128).double()), jacobian(torch.randn(128).double())
    torch.testing.assert_close(a, b)
    assert torch.linalg.matrix_rank(a) == 5


def test_with_skips_the_code_is_larger_than_the_image_and_without_it_can_be_smaller():
    concat = cf.UNet((3, 64, 64), width=8, depth=4, skips="concat").summary()
    plain = cf.UNet((3, 64, 64), width=8, depth=4).summary()
    assert concat.kind == "overcomplete"
    assert plain.kind == "undercomplete"
    assert plain.code_size == 8 * 16 * 4 * 4
    assert concat.code_size == plain.code_size + 8 * (64**2 + 2 * 32**2 + 4 * 16**2 + 8 * 8**2)


@pytest.mark.parametrize(("depth", "field"), [(1, 14), (2, 32), (3, 68), (4, 140), (5, 284)])
def test_the_receptive_field_of_a_unet_s_code(depth, field):
    """5 for the stem; a level adds its pooling and two 3x3 convolutions at its own stride."""
    with torch.device("meta"):
        model = cf.UNet((1, 1024, 1024), width=2, depth=depth)
    assert receptive_field(model.encoder.modules()) == field
    assert model.summary().code_field == field


def test_a_summary_says_what_a_number_of_the_code_sees_and_a_pixel_of_the_output():
    found = cf.UNet((1, 64, 64), width=4, depth=2).summary()
    assert found.code_field < found.output_field
    said = f"a number of the code sees {found.code_field} px, a pixel of the output {found.output_field} px"
    assert said in str(found)
    said = "a number of the code sees the whole image, a pixel of the output the whole image"
    assert said in str(cf.Linear((1, 8, 8), 4).summary())


@pytest.mark.parametrize("shape", [(8, 6, 5, 5), (16, 6)])
def test_batch_norm_equals_torch_s(shape):
    """The same output, gradient and averages as torch's, in training mode and with the averages."""
    ours = BatchNorm(6).double()
    theirs = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6).double()
    for _ in range(5):
        x = torch.randn(shape).double() * 3 + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.testing.assert_close(ours(a), theirs(b))
        ours(a).pow(3).sum().backward()
        theirs(b).pow(3).sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.statistics = "running"
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    torch.testing.assert_close(ours.train()(x), theirs.eval()(x))
    ours.statistics = "batch"
    recorded = ours.running_mean.clone(), ours.running_var.clone()
    torch.testing.assert_close(ours.eval()(x), theirs.train()(x))
    ours.recording = False
    torch.testing.assert_close(ours.train()(x), theirs(x))
    assert ours.running_mean.equal(recorded[0])  # only training mode records, while it is meant to
    assert ours.running_var.equal(recorded[1])


@pytest.mark.parametrize("shape", [(8, 6, 5, 5), (16, 6)])
def test_synchronised_batch_norm_of_one_process_equals_torch_s(shape):
    ours = BatchNorm(6).double()
    theirs = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6).double()
    ours.synchronised = True
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        for _ in range(3):
            a = (torch.randn(shape).double() * 0.01 + 1).requires_grad_()  # so small that eps counts
            b = a.detach().clone().requires_grad_()
            y, expected = ours(a), theirs(b)
            torch.testing.assert_close(y, expected)
            y.pow(3).sum().backward()
            expected.pow(3).sum().backward()
            torch.testing.assert_close(a.grad, b.grad)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
    finally:
        torch.distributed.destroy_process_group()


def test_one_value_per_channel_is_not_recorded():
    module = BatchNorm(3)
    module.statistics = "running"
    module(torch.randn(1, 3, 1, 1))
    assert module.running_mean.equal(torch.zeros(3))
    assert module.running_var.equal(torch.ones(3))
    module(torch.randn(2, 3, 1, 1))
    assert not module.running_mean.equal(torch.zeros(3))


def test_group_norm_has_up_to_eight_groups():
    assert [norm("group", channels).num_groups for channels in (4, 5, 12, 16)] == [4, 1, 4, 8]


def test_batch_statistics_of_one_value_are_refused_with_advice():
    model = cf.UNet((1, 4, 4), width=2, depth=2)
    with pytest.raises(cf.UsageError, match="a batch of 2 or more"):
        model(torch.rand(1, 1, 4, 4))
    with model.eval().using("running"):
        assert model(torch.rand(1, 1, 4, 4)).shape == (1, 1, 4, 4)


def test_the_linear_autoencoder_can_be_pca():
    """Set to the principal components, its reconstruction is scikit-learn's."""
    x = torch.rand(60, 1, 4, 4).double()
    pca = PCA(5).fit(x.flatten(1).numpy())
    model = cf.Linear((1, 4, 4), latent_dim=5).double()
    axes, mean = torch.from_numpy(pca.components_), torch.from_numpy(pca.mean_)
    encoder, decoder = model.encoder[1], model.decoder[0]
    encoder.weight.data, encoder.bias.data = axes, -axes @ mean
    decoder.weight.data, decoder.bias.data = axes.T, mean
    expected = pca.inverse_transform(pca.transform(x.flatten(1).numpy()))
    torch.testing.assert_close(model(x).flatten(1), torch.from_numpy(expected))


@pytest.mark.parametrize("latent_dim", [10, 30])
def test_the_linear_autoencoder_s_optimum_is_pca(latent_dim):
    """Centred digits in float64 by L-BFGS: PCA's loss, and at 10 dimensions, which are apart, its subspace."""
    x = torch.from_numpy(load_digits().data / 16).view(-1, 1, 8, 8)
    x = x - x.mean(0)
    torch.manual_seed(0)
    model = cf.Linear((1, 8, 8), latent_dim, bias=False).double()
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=1500, history_size=50, line_search_fn="strong_wolfe", tolerance_change=1e-13
    )

    def closure():
        optimizer.zero_grad()
        loss = sum(cf.Classical()(model, x).values())
        loss.backward()
        return loss

    optimizer.step(closure)
    pca = PCA(latent_dim).fit(x.flatten(1).numpy())
    least = (
        np.square(x.flatten(1).numpy() - pca.inverse_transform(pca.transform(x.flatten(1).numpy()))).sum(1).mean()
    )
    ours = 2 * closure().item()  # the fidelity is half the squared norm
    assert least * (1 - 1e-9) <= ours <= 1.001 * least
    discarded = np.linalg.eigvalsh(np.cov(x.flatten(1).numpy().T, bias=True))[: 64 - latent_dim].sum()
    assert least == pytest.approx(discarded, rel=1e-6)
    if latent_dim == 10:
        angles = subspace_angles(model.decoder[0].weight.detach().numpy(), pca.components_.T)
        assert np.degrees(angles.max()) < 1


def test_a_denoising_autoencoder_learns_the_score(tmp_path, monkeypatch):
    """On a density known exactly, r(x) - x is sigma^2 times the score of the smoothed density (Tweedie)."""
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[2] / "examples" / "score_field.py"
    found = runpy.run_path(str(example))
    assert found["cosine"] > 0.95
    assert 0.9 < found["slope"] < 1.1


def test_murphy_s_mlp_and_the_overcomplete_one_have_their_widths():
    mlp = cf.MLP((1, 28, 28), hidden=[100], latent_dim=30, activation="selu")
    widths = [(m.in_features, m.out_features) for m in mlp.modules() if isinstance(m, nn.Linear)]
    assert widths == [(784, 100), (100, 30), (30, 100), (100, 784)]
    with torch.device("meta"):
        large = cf.MLP((3, 32, 32), hidden=[4000, 4000], latent_dim=4000, code_activation="gelu")
    assert sum(isinstance(m, nn.Linear) for m in large.modules()) == 6
    assert sum(isinstance(m, nn.GELU) for m in large.modules()) == 5
    with torch.device("meta"):
        deep = cf.MLP((3, 32, 32), hidden=[4000, 1000], latent_dim=500, norm="layer")
    assert sum(isinstance(m, nn.GroupNorm) and m.num_groups == 1 for m in deep.modules()) == 4


def test_layer_norm_is_torch_s_on_vectors_and_of_the_whole_map_on_maps():
    x, maps = torch.randn(3, 6), torch.randn(3, 6, 4, 5)
    torch.testing.assert_close(norm("layer", 6)(x), nn.functional.layer_norm(x, (6,)))
    torch.testing.assert_close(norm("layer", 6)(maps), nn.functional.layer_norm(maps, (6, 4, 5)))


def test_murphy_s_cnn_has_its_bottleneck_and_a_single_position_can_be_reached():
    cnn = cf.Conv((1, 28, 28), channels=(16, 32, 64), activation="selu", output="sigmoid")
    assert cnn.encode(torch.rand(2, 1, 28, 28)).shape == (2, 64, 3, 3)
    assert cnn(torch.rand(2, 1, 28, 28)).shape == (2, 1, 28, 28)
    single = cf.Conv((3, 32, 32), channels=(4, 8, 8, 8, 8))
    assert single.encode(torch.rand(2, 3, 32, 32)).shape == (2, 8, 1, 1)
    with pytest.raises(cf.UsageError, match="stages=0"):
        cf.Conv((3, 32, 32), channels=())
    with pytest.raises(cf.UsageError, match=r"channels=8 is invalid: expected a list .*as in \[8\]"):
        cf.Conv((3, 32, 32), channels=8)


def test_each_side_of_a_conv_may_be_odd():
    for sides in ((9, 8), (8, 9), (11, 14)):
        assert cf.Conv((1, *sides), channels=(2, 3))(torch.rand(2, 1, *sides)).shape == (2, 1, *sides)


def test_the_output_is_that_of_the_logits_or_their_sigmoid():
    for output, bounded in (("linear", lambda a: a), ("sigmoid", lambda a: 1 / (1 + (-a).exp()))):
        model = cf.Linear((1, 4, 4), 3, output=output)
        z = 3 * torch.randn(5, 3)
        torch.testing.assert_close(model.decode(z), bounded(model.logits(z)))


def test_images_that_would_mostly_be_padding_are_refused():
    assert cf.UNet((3, 3, 60), width=1).inner_shape == (3, 16, 64)
    assert cf.UNet((3, 32, 32), width=4, depth=4, middle=cf.Affine(2, 2)).inner_shape == (3, 64, 64)
    with pytest.raises(cf.UsageError, match=r"images of 32x32 are invalid for this UNet, .* pad them to 128x128"):
        cf.UNet((3, 32, 32), width=1, depth=7)
    with pytest.raises(cf.UsageError, match=r"1024x1024.*4096x4096"):
        cf.UNet((3, 1024, 1024), width=1, depth=12)
    with pytest.raises(cf.UsageError, match="depth=31 is invalid"):
        cf.UNet((3, 32, 32), width=1, depth=31)


def test_unknown_activations_are_refused():
    assert isinstance(activation("gelu"), nn.GELU)
    with pytest.raises(cf.UsageError, match="identity, relu"):
        cf.MLP((1, 4, 4), activation="Softmax")


def test_instance_norm_needs_more_than_one_position():
    with pytest.raises(cf.UsageError, match="single position"):
        cf.UNet((1, 16, 16), norm="instance")
