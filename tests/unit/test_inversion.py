"""Inversion and taps, against linear algebra; and what they must not change."""

import math
from itertools import islice, pairwise

import pytest
import torch
from torch import Generator, nn

import copyfold as cf
from copyfold.measures import distance
from copyfold.models.base import flat
from copyfold.probes import inversion
from copyfold.probes.base import layers, still, tap

ESSAY = ("unet_variations", "unet_representations", "unet_linear_attention", "mlp_representations")


def seeded(seed=0):
    return Generator().manual_seed(seed)


def pictures(*shape, dtype=torch.float64):
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def linear(n, m, layers=1):
    """A map of images of n values through linear layers of m, in float64."""
    torch.manual_seed(4)
    sizes = [n] + [m] * layers
    maps = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), *maps).double()


def unet(**given):
    torch.manual_seed(5)
    return cf.UNet((1, 16, 16), width=4, depth=2, norm="group", **given).eval()


def last(film):
    frame = None
    for frame in film:  # noqa: B007
        pass
    return frame


# ---------------------------------------------------------------- taps


def test_a_tap_returns_the_output_of_the_layer():
    model, x = unet(), pictures(3, 1, 16, 16, dtype=torch.float32)
    z = model.encode(x)
    assert torch.equal(tap(model, "encoder.down2", x), z.flatten(1))
    assert torch.equal(tap(model, "", x), model(x).flatten(1))
    assert torch.equal(tap(model, "encoder.stem.conv1", x), model.encoder["stem"].conv1(x).flatten(1))


def test_nothing_after_the_layer_is_computed():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32)
    calls = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    tap(model, "encoder.down1", x)
    assert "encoder.stem" in calls
    assert not [name for name in calls if name.startswith(("decoder", "encoder.down2")) or not name]


def test_gradients_flow_through_a_tap_and_no_hook_is_left():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(tap(model, "encoder.down1", x).square().sum(), x)
    assert (gradient.abs().sum((1, 2, 3)) > 0).all()
    with pytest.raises(cf.UsageError):
        tap(model, "encoder", x)
    assert not any(module._forward_hooks for module in model.modules())


class Several(nn.Module):
    """Returns what models of others return: tensors in tuples and dictionaries, and what is none."""

    def forward(self, x):
        return {"maps": (2 * x, None, x[:, :, :1]), "count": torch.arange(len(x)), "scale": torch.tensor(3.0)}


def test_several_outputs_are_one_vector():
    model, x = nn.Sequential(Several()), pictures(2, 1, 4, 4)
    assert torch.equal(tap(model, "0", x), torch.cat((2 * x.flatten(1), x[:, :, :1].flatten(1)), 1))
    model, x = unet(skips="concat"), pictures(2, 1, 16, 16, dtype=torch.float32)
    assert tap(cf.Variational(unet(), 5).eval(), "", x).shape == (2, 256)
    assert torch.equal(tap(model, "decoder.up1", x), model.decoder["up1"](*model.encode(x)[:2]).flatten(1))
    assert flat(model.encode(x)).shape == (2, sum(math.prod(s) for s in model.code_shapes()))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("encoder.dwn1", "UNet has no layer 'encoder.dwn1': did you mean encoder.down1?"),
        ("encoder", "'encoder' of a UNet is not called"),
    ],
)
def test_a_missing_layer_is_refused(layer, message):
    with pytest.raises(cf.UsageError, match="(?s)^[^\n]*" + message.replace("?", r"\?")):
        tap(unet(), layer, pictures(2, 1, 16, 16, dtype=torch.float32))


def test_a_layer_without_a_row_per_image_is_refused():
    class Constant(nn.Module):
        def forward(self, x):
            return x.mean()

    with pytest.raises(cf.UsageError, match="no tensor with a row per image"):
        tap(nn.Sequential(Constant()), "0", pictures(2, 1, 4, 4))


def test_layers_are_named_in_the_order_of_execution():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32)
    assert layers(model, x, 1) == [""]
    blocks = ["stem", "down1", "down2"], ["up1", "up2", "head"]
    blocks = [f"encoder.{name}" for name in blocks[0]] + [f"decoder.{name}" for name in blocks[1]]
    assert layers(model, x, 6) == blocks
    assert layers(model, x, 3) == blocks[1::2]
    finest = layers(model, x)
    assert finest[:3] == ["encoder.stem.conv1", "encoder.stem.norm1", "encoder.stem.act1"]
    assert finest[-1] == "decoder.head"
    assert layers(cf.CNN((1, 16, 16), 4).eval(), x, 4) == ["blocks.0", "blocks.1", "blocks.2", "head"]
    with pytest.raises(cf.UsageError, match="count=0"):
        layers(model, x, 0)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13, 40, None])
def test_layers_can_all_be_tapped(count):
    for model in (unet(skips="concat"), cf.ViT((1, 16, 16), 4, depth=2).eval()):
        x = pictures(2, 1, 16, 16, dtype=torch.float32)
        names = layers(model, x, count)
        assert len(names) == len(set(names)) <= (count or 1000)
        assert all(len(tap(model, name, x)) == 2 for name in names)


def test_a_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Sequential(nn.Dropout()), nn.Conv2d(1, 1, 1)).train()
    model[1].eval()
    before = [b.clone() for b in model.buffers()]
    with still(model):
        assert not any(m.training for m in model.modules())
    layers(model, pictures(4, 1, 8, 8, dtype=torch.float32))
    assert [m.training for m in model.modules()] == [True, True, False, False, True]
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


# ---------------------------------------------------------------- oracles


@pytest.mark.parametrize("start", ["noise", "constant", "uniform", "zero"])
def test_descent_moves_only_in_the_row_space(start):
    """Whatever the loss on A a: a0 + A^+ A (a - a0)."""
    model, x = linear(16, 3), pictures(3, 1, 4, 4)
    a = model[1].weight.detach()
    rate = 1 / torch.linalg.matrix_norm(a, 2).square().item()
    first = next(cf.Inversion(start=start, steps=2).film(model, x, seeded()))  # L-BFGS shows where it starts
    found = last(
        cf.Inversion(start=start, optimizer="descent", rate=(rate, rate), steps=150).film(model, x, seeded())
    )
    expected = first.flatten(1) + (x - first).flatten(1) @ (torch.linalg.pinv(a) @ a).T
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-9)
    again = last(cf.Inversion(start=start, steps=20).film(model, x, seeded()))
    torch.testing.assert_close(again.flatten(1), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("m", [100, 200, 300])
def test_a_random_layer_keeps_the_expected_part_of_the_start(m):
    r"""a_g = p a + (1-p) a0 + sqrt(p (1-p)) rms(a0 - a) xi,   p = m/n, xi like N(0, I).

    Pictures of two grey values and a constant start, so that nothing normal is put in. For one of b images the
    share of ||a0 - a||^2 that is left has variance 2 p (1-p) / n at most.
    """
    n, b, p = 400, 64, m / 400
    model, x = linear(n, m), (pictures(b, 1, 20, 20) > 0.5).double()
    found = last(cf.Inversion(start="constant", mean=0.5, steps=60).film(model, x, seeded()))
    start = torch.full_like(x, 0.5)
    left = (found - x).square().sum((1, 2, 3)) / (start - x).square().sum((1, 2, 3))
    error = math.sqrt(2 * p * (1 - p) / n / b)
    assert abs(left.mean() - (1 - p)) < 4 * error
    xi = (found - p * x - (1 - p) * start) / math.sqrt(p * (1 - p)) / 0.5
    assert abs(xi.square().mean() - 1) < 4 * error / (p * (1 - p))
    assert abs(cf.measures.kurtosis(xi).mean()) < 4 * math.sqrt(24 / n / b)
    assert (cf.measures.normality(xi) < 0.9 / math.sqrt(n)).double().mean() > 0.8


def test_square_linear_layers_are_inverted_exactly():
    model, x = linear(64, 64, layers=3), pictures(4, 1, 8, 8)
    with torch.no_grad():
        for layer in model[1:]:
            layer.weight.copy_(torch.eye(64) + 0.3 * layer.weight)
    reading = cf.Inversion(steps=60)(model, x, seeded())
    assert (reading.numbers["image"] < 1e-9).all()
    assert (reading.numbers["psnr"] > 150).all()
    assert (reading.numbers["image, reference"] > 0.1).all()


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_a_step_of_descent_is_that_of_autograd(distance):
    model, x = unet().double(), pictures(2, 1, 16, 16)
    probe = cf.Inversion(
        "encoder.down1", 1, optimizer="descent", distance=distance, scale=0.3, rate=(0.2, 0.1), start="zero"
    )
    a = torch.zeros_like(x).requires_grad_()
    rest = model.encoder["down1"](model.encoder["stem"](a)) - model.encoder["down1"](model.encoder["stem"](x))
    loss = 0.3 * (rest.abs().sum() if distance == "l1" else rest.square().sum() / 2)
    (gradient,) = torch.autograd.grad(loss, a)
    torch.testing.assert_close(last(probe.film(model, x, seeded())), -0.2 * gradient)


@pytest.mark.parametrize("optimizer", ["descent", "adam", "lbfgs"])
def test_images_are_inverted_independently(optimizer):
    model, x = unet().double(), pictures(4, 1, 16, 16) * torch.tensor([0.1, 1, 3, 9]).view(4, 1, 1, 1)
    probe = cf.Inversion(start="constant", optimizer=optimizer, steps=12, rate=(0.05, 0.01))
    together = last(probe.film(model, x, seeded()))
    for i in range(4):
        alone = last(probe.film(model, x[i : i + 1], seeded()))
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-6, atol=1e-9)


def test_lbfgs_only_goes_down_where_a_model_is_neither_linear_nor_smooth():
    """Where a step did not pay, as the first here, which is far too long, it tries a shorter one."""
    model, x = unet(), pictures(4, 1, 16, 16, dtype=torch.float32)
    with torch.no_grad():
        frames = cf.Inversion("encoder.down2", 30, rate=(1e3, 1e3)).film(model, x, seeded())
        target = tap(model, "encoder.down2", x)
        curve = torch.stack([cf.measures.distance(tap(model, "encoder.down2", a), target) for a in frames])
    steps = curve.diff(dim=0)
    assert (steps[0] == 0).all()
    assert (steps <= 1e-5).all()
    assert (curve[-1] < 0.5 * curve[0]).all()


def test_a_step_that_is_too_long_is_followed_by_the_best_one():
    """Of the identity the loss along a step is a parabola: the second length is that of its minimum."""
    x, model = pictures(2, 1, 4, 4), nn.Flatten()
    rest = (0.5 - x).abs().amax(dim=(1, 2, 3))
    for i, times in enumerate((3.0, 8.0)):
        probe = cf.Inversion(
            start="constant", mean=0.5, distance="l2", steps=3, rate=(times * rest[i].item(),) * 2
        )
        first, waited, found = probe.film(model, x[i : i + 1], seeded())
        torch.testing.assert_close(first, torch.full_like(first, 0.5))
        assert waited.equal(first)
        torch.testing.assert_close(found, x[i : i + 1])


# ---------------------------------------------------------------- what it does with models and images


def test_the_direction_is_newton_s_along_the_pairs_and_scaled_across_them():
    """On a quadratic of four axes, with the pairs of two of them."""
    curvature, gradient = torch.tensor([[1.0, 4.0, 9.0, 16.0], [1.0, -2.0, 3.0, 5.0]]).view(2, 1, 1, 2, 2)
    pairs = []
    for s in torch.eye(4)[:2].view(-1, 1, 1, 2, 2):
        y = curvature * s
        pairs.append((s, y, 1 / (s * y).sum(dim=(1, 2, 3))))
    expected = -gradient / curvature
    expected[:, :, 1] = -0.1 * gradient[:, :, 1]
    torch.testing.assert_close(inversion._direction(gradient, pairs, torch.tensor([0.1])), expected)


def test_a_rate_goes_from_its_first_to_its_last_value():
    assert inversion._span((1.0, 0.2), 3) == pytest.approx([1.0, 0.6, 0.2])
    assert inversion._span((1.0, 0.2), 1) == [1.0]


def test_a_film_is_lazy_and_has_a_frame_for_every_evaluation():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32)
    calls = []
    model.encoder["stem"].register_forward_hook(lambda *_: calls.append(1))
    for optimizer in ("descent", "adam", "lbfgs"):
        probe = cf.Inversion(optimizer=optimizer, steps=7)
        calls.clear()
        film = probe.film(model, x, seeded())
        assert not calls
        for number, frame in enumerate(film, 1):
            beside = 1 if optimizer == "lbfgs" else 2  # for the target, and for the gradient at the start
            assert len(calls) == number + beside
            assert frame.shape == x.shape
            assert not frame.requires_grad
        assert number == 7
    frames = list(islice(probe.film(model, x, seeded()), 3))
    assert len({id(frame) for frame in frames}) == 3


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("optimizer", ["descent", "adam", "lbfgs"])
def test_a_trace_has_the_distance_of_each_frame_from_its_target(optimizer, norm):
    model, x = unet().double(), pictures(3, 1, 16, 16)
    layer = "encoder.stem"
    after = cf.Inversion(layer, 3, "adam", rate=(0.03, 0.01))
    probe = cf.Inversion(layer, 5, optimizer, norm, scale=0.3, rate=(0.01, 0.02), after=after)
    target = tap(model, layer, x)
    for step, (frame, left) in enumerate(probe.trace(model, x, seeded())):
        kind = "l2" if step < 3 else norm
        torch.testing.assert_close(left, distance(tap(model, layer, frame), target, kind))
    assert step == 7


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_images_that_have_ended_are_not_computed_and_others_do_not_change(optimizer):
    model, x = unet().double(), pictures(3, 1, 16, 16)
    after = cf.Inversion("encoder.stem", 3, "adam", rate=(0.03, 0.01))
    probe = cf.Inversion("encoder.stem", 6, optimizer, rate=(0.01, 0.02), after=after)
    whole = list(probe.trace(model, x, seeded()))
    ended, seen = torch.zeros(3, dtype=torch.bool), []
    model.encoder["stem"].register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    for step, (frame, left) in enumerate(probe.trace(model, x, seeded(), ended)):
        torch.testing.assert_close((frame[~ended], left[~ended]), tuple(part[~ended] for part in whole[step]))
        if step in (1, 5):
            ended[step // 5] = True
        if step == 5:
            seen.clear()
    assert set(seen) == {1}
    ended[:] = False
    film = probe.trace(model, x, seeded(), ended)
    next(film)
    ended[:] = True
    seen.clear()
    assert len(list(film)) == 8
    assert seen == [3]  # the target of the second search


def test_the_model_is_untouched_and_gets_no_gradients():
    model = cf.UNet((1, 16, 16), width=4, depth=2).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = pictures(3, 1, 16, 16, dtype=torch.float32)
    film = cf.Inversion(optimizer="adam", steps=3).film(model, x, seeded())
    next(film)
    assert model.training
    assert model.statistics == "batch"
    last(film)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("layer", ["", "blocks.1.conv2", "blocks.0"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_classifier_is_inverted_too(layer, optimizer):
    torch.manual_seed(2)
    model, x = cf.CNN((1, 16, 16), 4, widths=(8, 8)), pictures(3, 1, 16, 16, dtype=torch.float32)
    start = torch.full_like(x, 0.7)
    reading = cf.Inversion(layer, 40, optimizer, start="constant")(model, x, seeded())
    before = cf.measures.distance(tap(model, layer, start), tap(model, layer, x))
    assert (reading.numbers["layer"] < 0.5 * before).all()
    assert model.training


def test_the_numbers_of_the_reading_agree_with_their_definitions():
    model, x = unet(), pictures(3, 1, 16, 16, dtype=torch.float32)
    probe = cf.Inversion("encoder.down1", 10, shift=1 / 25)
    numbers, images = (lambda r: (r.numbers, r.images))(probe(model, x, seeded()))
    found = last(probe.film(model, x, seeded()))
    assert torch.equal(found, images["found"])
    assert torch.equal(x, images["target"])
    assert set(images) == {"target", "found"}
    rest = found - x
    torch.testing.assert_close(numbers["image"], rest.flatten(1).norm(dim=1))
    torch.testing.assert_close(numbers["psnr"], -10 * rest.square().mean((1, 2, 3)).log10())
    gap = tap(model, "encoder.down1", found) - tap(model, "encoder.down1", x)
    torch.testing.assert_close(numbers["layer"], gap.norm(dim=1))
    torch.testing.assert_close(
        numbers["image, reference"], torch.full((3,), 16 / 25), rtol=4 / math.sqrt(512), atol=0
    )
    meter = {
        "noise": cf.measures.noise_level,
        "kurtosis": cf.measures.kurtosis,
        "normality": cf.measures.normality,
        "flatness": cf.measures.flatness,
    }
    assert all(torch.equal(numbers[name], measure(rest)) for name, measure in meter.items())


def test_the_target_may_be_of_the_corrupted_image():
    model, x = linear(64, 64), pictures(3, 1, 8, 8)
    with torch.no_grad():
        model[1].weight.add_(torch.eye(64))
    reading = cf.Inversion(corruption=cf.Gaussian(0.3), steps=60)(model, x, seeded())
    corrupted = cf.Gaussian(0.3)(x, seeded())
    assert torch.equal(reading.images["corrupted"], corrupted)
    torch.testing.assert_close(reading.images["found"], corrupted, rtol=0, atol=1e-6)
    torch.testing.assert_close(reading.numbers["image"], cf.measures.distance(corrupted, x))
    torch.testing.assert_close(reading.numbers["corruption"], cf.measures.distance(corrupted, x))
    beside = torch.full((3,), 8 / 18, dtype=x.dtype)  # of what was shown, and not of the clean image
    torch.testing.assert_close(reading.numbers["image, reference"], beside, rtol=4 / math.sqrt(128), atol=0)
    assert (reading.numbers["image, corrupted"] < 1e-5).all()


def test_every_start_has_its_distribution():
    model, x = unet(), pictures(8, 1, 16, 16, dtype=torch.float32)

    def begins(**given):
        return next(cf.Inversion(**given).film(model, x, seeded()))

    noise = begins()
    assert abs(noise.mean() - 0.7) < 4 / 20 / math.sqrt(2048)
    assert abs(noise.std() * 20 - 1) < 4 / math.sqrt(2 * 2048)
    assert (begins(start="constant", mean=0.4) == 0.4).all()
    assert not begins(start="zero").any()
    uniform = begins(start="uniform")
    assert 0 <= uniform.min() < 0.01 < 0.99 < uniform.max() <= 1
    assert torch.equal(begins(first=x.flip(0)), x.flip(0))
    assert torch.equal(begins(first=x[:1], start="zero"), x[:1].expand_as(x))


def test_blur_clamp_and_jitter_have_their_effect():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32)
    plain = cf.Inversion(optimizer="descent", steps=1, rate=(0.1, 0.1))
    step = last(plain.film(model, x, seeded()))
    blurred = last(cf.Inversion(optimizer="descent", steps=1, blur=(2.4, 0.4)).film(model, x, seeded()))
    torch.testing.assert_close(blurred, cf.Blur(3, 2.4)(step))
    far = cf.Inversion(optimizer="descent", steps=2, rate=(50.0, 50.0), scale=10.0)
    assert last(far.film(model, x, seeded())).abs().max() > 1
    kept = last(cf.Inversion(**{**vars(far), "clamp": True}).film(model, x, seeded()))
    assert 0 <= kept.min() <= kept.max() <= 1
    # To a mean over positions a roll is nothing; to the U-Net it is not
    shaken = cf.Inversion(optimizer="adam", steps=3, jitter=5)
    assert not torch.equal(last(shaken.film(model, x, seeded())), last(plain.film(model, x, seeded())))
    whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    still_plain = cf.Inversion(optimizer="adam", steps=3, start="zero")
    for probe in (still_plain, cf.Inversion(optimizer="adam", steps=3, start="zero", jitter=5)):
        torch.testing.assert_close(
            last(probe.film(whole, x, seeded())), last(still_plain.film(whole, x, seeded()))
        )


def test_octaves_continue_at_a_larger_size():
    """The first one's images have no more than its own pixels; the next begins where it ended."""
    model, x = linear(256, 256), pictures(2, 1, 16, 16)
    coarse = cf.Inversion(steps=10, size=0.25)
    film = list(cf.Inversion(steps=5, after=coarse).film(model, x, seeded()))
    assert [frame.shape for frame in film] == [x.shape] * 15
    rank = torch.linalg.matrix_rank(film[9].flatten(0, 2) @ torch.eye(16, dtype=torch.float64), atol=1e-9)
    assert rank <= 4 * 2
    assert torch.equal(film[10], film[9])
    errors = torch.stack([cf.measures.distance(tap(model, "", a), tap(model, "", x)) for a in film])
    assert (errors[14] < errors[9]).all()


@pytest.mark.parametrize("script", [*ESSAY, "prior_generator", "growing"])
def test_the_essay_s_settings_work(script):
    probe = getattr(cf.Inversion, script)("encoder.stem")
    film = probe.film(unet(), pictures(2, 1, 16, 16, dtype=torch.float32), seeded())
    assert next(film).isfinite().all()


def test_the_essay_s_settings_equal_those_of_its_scripts():
    def settings(probe):
        return probe.optimizer, probe.distance, probe.scale, probe.steps, probe.rate, probe.mean, probe.std

    common = ("descent", "l1")
    for script, scale, steps in zip(ESSAY, (0.01, 0.005, 0.02, 0.35), (1000, 500, 1000, 500), strict=True):
        probe = getattr(cf.Inversion, script)("head")
        assert settings(probe) == (*common, scale, steps, (0.1, 0.1), 0.7, 1 / 20)
        assert (probe.layer, probe.blur, probe.clamp, probe.start) == ("head", None, False, "noise")
    prior = cf.Inversion.prior_generator()
    assert settings(prior) == (*common, 0.002, 200, (2.5, 1.5), 0.6, 1 / 20)
    assert prior.blur == (2.0, 0.5)
    octaves = [cf.Inversion.growing("head")]
    while octaves[0].after:
        octaves.insert(0, octaves[0].after)
    assert [(o.steps, o.rate, o.blur, round(60 * o.size), o.layer) for o in octaves] == [
        (220, (2.5, 1.5), (2.4, 0.8), 32, "head"),
        (200, (1.5, 0.3), (1.5, 0.4), 50, "head"),
        (100, (1.5, 0.4), (1.5, 0.4), 60, "head"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"optimizer": "sgd"}, "descent, adam, lbfgs"),
        ({"distance": "l3"}, "l1, l2"),
        ({"start": "ones"}, "noise, constant, uniform, zero"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"rate": (0.1, -1.0)}, "rate="),
        ({"blur": (0.0, 1.0), "optimizer": "adam"}, "blur="),
        ({"jitter": -1, "optimizer": "adam"}, "jitter=-1"),
        ({"size": 1.5}, "size=1.5"),
        ({"std": -0.1}, "expected a number of at least 0"),
        ({"clamp": True}, "give optimizer=adam, or descent"),
    ],
)
def test_invalid_settings_are_refused(given, message):
    probe = object.__new__(cf.Inversion)  # the tests' own check of types would speak before it does
    vars(probe).update(vars(cf.Inversion()) | given)
    with pytest.raises(cf.UsageError, match=message) as refusal:
        probe.__post_init__()
    assert "\n" not in str(refusal.value)


def test_outputs_that_cannot_be_inverted_are_refused():
    model, x = unet(), pictures(2, 1, 16, 16, dtype=torch.float32)
    with pytest.raises(cf.UsageError, match=r"did you mean encoder\.down1"):
        cf.Inversion("encoder.down11")(model, x, seeded())
    with pytest.raises(cf.UsageError, match="does not fit images"):
        cf.Inversion(first=pictures(3, 1, 16, 16, dtype=torch.float32))(model, x, seeded())
    with pytest.raises(cf.UsageError, match="lower rate or scale"):
        cf.Inversion(optimizer="descent", rate=(1e30, 1e30), steps=5)(linear(256, 9).float(), x, seeded())
