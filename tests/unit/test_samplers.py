"""Iterating samplers against the results of their equations for known models."""

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold import catalogue
from copyfold.cli import sample
from copyfold.samplers.base import perturbed, unflatten
from known import Constant, Halves, Identity, Pixels


class Halving(Pixels):
    """D(E(x)) = x / 2 with the image itself, halved, as the code."""

    def encode(self, x):
        return x.flatten(1) / 2


def rng(seed: int = 3) -> Generator:
    return Generator().manual_seed(seed)


# ---------------------------------------------------------------- what a sampler makes


def test_samplers_start_from_noise_or_from_images():
    generates = {name for name, cls in catalogue.classes(cf.Sampler).items() if cls.generates()}
    assert generates == {"Renoising", "Ascent", "Prior", "FittedGaussian", "FittedMixture"}
    for name, cls in catalogue.classes(cf.Sampler).items():
        given = {"reference": torch.rand(4, 1, 4, 4)} if "reference" in cls.__dataclass_fields__ else {}
        assert (cls(**given).noise(2, (1, 4, 4), rng()) is not None) == (name in generates)


@pytest.mark.parametrize("sampler", [cf.Prior(), cf.Traversal(unit="prior")], ids=str)
def test_sampling_without_a_prior_gives_a_warning(sampler, caplog):
    """In a sentence for whoever shows the images: a study takes them for a control, and nothing is logged."""
    assert "this Linear has no prior" in (said := sampler.doubt(cf.Linear.tiny()))
    assert "FittedGaussian" in said
    assert sampler.doubt(cf.Variational.tiny()) == ""
    assert cf.Renoising().doubt(cf.Linear.tiny()) == cf.Traversal().doubt(cf.Linear.tiny()) == ""
    model = cf.Linear.tiny()
    assert all(frame.isfinite().all() for frame in sampler(model, torch.rand(3, *model.shape), rng()))
    assert not caplog.records


def left_of_noise(steps: int) -> float:
    """The std of what Renoising makes of noise N(m, 1) with a perfect copy: v <- c^2 v + (1 - c)^2."""
    v = 1.0
    for n in range(1, steps):
        c = n / steps
        v = c**2 * v + (1 - c) ** 2
    return v**0.5


@pytest.mark.parametrize("steps", [1, 30, 200])
def test_the_output_of_a_copy_has_the_spread_of_the_equation(steps):
    sampler = cf.Renoising(steps, mean=0.5, std=0.12)  # so that next to nothing is beyond 0 and 1
    start = sampler.noise(64, (1, 16, 16), rng())
    *_, made = sampler(Identity((1, 16, 16)), start, rng(4))
    (before, _), (between, within) = cf.measures.spread(start), cf.measures.spread(made)
    assert (between / before).item() == pytest.approx(left_of_noise(steps), rel=0.02)
    assert within.item() == pytest.approx(between.item(), rel=0.03)
    assert ("nearly the same" in sample._alike(made, start)) == (steps > 1)


def test_identical_and_blank_images_are_detected():
    start = cf.Renoising().noise(16, (1, 8, 8), rng())
    (frame,) = cf.Renoising(1)(Constant((1, 8, 8)), start, rng())
    assert sample._alike(frame, start).startswith("the images are blank")
    digit = torch.rand(1, 1, 8, 8, generator=rng())
    same = digit + 0.01 * torch.randn(16, 1, 8, 8, generator=rng())
    for before in (start, torch.zeros_like(start)):  # the second has no spread, and the pixels are compared
        said = sample._alike(same, before)
        assert said.startswith("the 16 images are nearly the same: they differ by 0.010")
        assert not sample._alike(torch.rand(16, 1, 8, 8, generator=rng()), before)
    assert not sample._alike(same[:1], start[:1])  # one image is as it is
    assert sample._alike(torch.full((4, 1, 8, 8), 7.0), start[:4]).startswith("the images are blank")
    assert not sample._alike(torch.full((4, 1, 8, 8), torch.nan), start[:4])


def test_what_to_do_about_images_that_are_alike_is_the_samplers_own_advice():
    with_skips = cf.UNet((1, 8, 8), width=4, depth=1, skips="concat")
    assert "skips='none'" in cf.Renoising().remedy(with_skips)
    assert "FittedGaussian" in cf.Renoising().remedy(cf.Linear.tiny())
    assert "on noise of all levels up to std 0.5" in cf.Ascent(from_std=0.5).remedy(with_skips)
    assert "FittedGaussian" not in cf.Prior().remedy(cf.Linear.tiny())


# ---------------------------------------------------------------- renoising


def written_out(model, x, weights, mean, std, rng, sizes=(), clip=False):
    """The equation of the sampler, with the weights of (image, reconstruction, noise) at every step."""
    frames = []
    for n, (kept, copied, noise) in enumerate(weights, 1):
        for at, side in sizes:
            if n == at:
                x = torch.nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
        clean = model.decode(model.encode(x)).detach()
        clean = clean.clip(0, 1) if clip else clean
        frames.append(clean)
        eta = mean + std * torch.randn(x.shape, generator=rng)
        x = kept * x + copied * clean + noise * eta
    return frames


@pytest.mark.parametrize(
    ("sampler", "weights"),
    [
        (cf.Renoising(), [(0, n / 30, 1 - n / 30) for n in range(1, 31)]),
        (cf.Renoising(200), [(0, n / 200, 1 - n / 200) for n in range(1, 201)]),
        (cf.Renoising(80, mean=0.6, start_mean=0.7), [(0, n / 80, 1 - n / 80) for n in range(1, 81)]),
        (cf.Renoising(50, mean=0.5), [(0, n / 50, 1 - n / 50) for n in range(1, 51)]),
        (cf.Renoising(60, schedule=cf.Ramp(over=20)), [(0, n / 20, 1 - n / 20) for n in range(1, 61)]),
        (cf.Renoising(200, schedule=cf.Ramp(over=800)), [(0, n / 800, 1 - n / 800) for n in range(1, 201)]),
        (cf.Renoising(100, schedule=cf.Additive(0.1)), [(1, 0.1, 0)] * 100),
        (cf.Renoising(5, std=0.0, clip=True), [(0, n / 5, 1 - n / 5) for n in range(1, 6)]),
        (cf.Renoising(5, mean=-4.0, std=3.0, clip=True), [(0, n / 5, 1 - n / 5) for n in range(1, 6)]),
    ],
    ids=str,
)
def test_renoising_is_its_equation_with_every_schedule_of_the_texts(sampler, weights):
    model, x = cf.Linear((1, 4, 4), latent_dim=5), 0.7 + 0.2 * torch.randn(3, 1, 4, 4)
    film = list(sampler(model, x, rng()))
    expected = written_out(model, x, weights, sampler.mean, sampler.std, rng(), clip=sampler.clip)
    torch.testing.assert_close(torch.stack(film), torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_the_schedules_have_their_weights():
    assert [cf.Ramp()(n, 4) for n in (1, 4)] == [(0.0, 0.25, 0.75), (0.0, 1.0, 0.0)]
    assert cf.Ramp(over=20)(60, 60) == (0.0, 3.0, -2.0)
    assert cf.Additive(0.1)(1, 9) == (1.0, 0.1, 0.0)
    x = torch.rand(2, 1, 3, 3)
    film = cf.Renoising(steps=3, schedule=cf.Additive(0.1))(Halving((1, 3, 3)), x, Generator())
    torch.testing.assert_close(list(film)[-1], x * 1.05**2 / 2)


def test_one_step_is_one_pass_of_the_model():
    model, x = cf.UNet.tiny().eval(), torch.rand(2, 3, 16, 16)
    (frame,) = cf.Renoising(steps=1)(model, x, rng())
    assert torch.equal(frame, model(x))


def test_renoising_starts_from_noise_of_its_own_mean_and_std():
    for sampler in (cf.Renoising(mean=0.6, std=0.1), cf.Renoising(mean=0.2, std=0.1, start_mean=0.6)):
        noise = sampler.noise(50, (3, 16, 16), rng(0))
        assert noise.shape == (50, 3, 16, 16)
        assert abs(noise.mean() - 0.6) < 0.002
        assert abs(noise.std() - 0.1) < 0.002
    assert cf.Walk().noise(5, (3, 16, 16), Generator()) is None


def test_growing_equals_its_explicit_loop():
    model, x = cf.Conv((1, 8, 8), channels=(3,), norm="none").eval(), torch.rand(2, 1, 8, 8)
    sampler = cf.Renoising(6, schedule=cf.Ramp(over=8), grow=((3, 16), (5, 24)))
    film = list(sampler(model, x, rng()))
    assert [frame.shape[-1] for frame in film] == [8, 8, 16, 16, 24, 24]
    weights = [(0, n / 8, 1 - n / 8) for n in range(1, 7)]
    for frame, wanted in zip(film, written_out(model, x, weights, 0.7, 0.2, rng(), sampler.grow), strict=True):
        torch.testing.assert_close(frame, wanted)


def test_growing_keeps_proportions():
    model, x = cf.Conv((1, 8, 16), channels=(3,), norm="none").eval(), torch.rand(2, 1, 8, 16)
    assert [f.shape[2:] for f in cf.Renoising(2, grow=((2, 12),))(model, x, rng())] == [(8, 16), (12, 24)]


def test_a_film_grows_to_sides_that_the_model_pads():
    model, x = cf.UNet((1, 9, 17), width=2, depth=2).eval(), torch.rand(2, 1, 9, 17)
    sizes = [f.shape[2:] for f in cf.Renoising(4, grow=((2, 12), (3, 13), (4, 18)))(model, x, rng())]
    assert sizes == [(9, 17), (12, 23), (13, 25), (18, 34)]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (cf.Linear((1, 8, 8)), r"32x32 with this Linear, which only takes images of 8x8: leave out grow"),
        (cf.UNet((1, 16, 16), width=2, depth=2, middle=cf.Affine(4)), "leave out grow, or train a UNet"),
    ],
    ids=["Linear", "middle"],
)
def test_models_that_cannot_grow_are_refused_with_a_reason(model, words):
    film = cf.Renoising(3, grow=((2, 32),))(model, torch.rand(1, *model.shape), rng())
    with pytest.raises(cf.UsageError, match=words):
        next(film)


@pytest.mark.parametrize(
    ("grow", "words"),
    [(((1, 32),), "expected a step from 2 to 4"), (((5, 32),), "2 to 4"), (((2, 0),), "side=0")],
)
def test_growth_at_a_missing_step_is_refused(grow, words):
    with pytest.raises(cf.UsageError, match=words):
        cf.Renoising(4, grow=grow)


# ---------------------------------------------------------------- walks


def test_a_walk_without_noise_iterates_the_model():
    x = torch.rand(2, 1, 3, 3)
    film = list(cf.Walk(steps=5, std=0.0)(Halving((1, 3, 3)), x, Generator()))
    for n, frame in enumerate(film, 1):
        torch.testing.assert_close(frame, x / 2**n)


def test_a_walk_s_noise_is_in_the_code_and_has_its_std():
    """With the halving map the stationary variance is std^2 / (1 - 1/4)."""
    model = Halving((1, 50, 50))
    *_, last = cf.Walk(steps=30, std=0.3)(model, torch.zeros(4, 1, 50, 50), rng(1))
    assert abs(last.var() / (0.3**2 / 0.75) - 1) < 0.05


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("reencode", [False, True])
def test_a_walk_equals_its_explicit_loop(relative, reencode):
    model, x = cf.Linear((1, 4, 4), latent_dim=5), torch.rand(3, 1, 4, 4)
    film = list(cf.Walk(4, 0.3, relative, reencode)(model, x, rng()))
    (w, b), (v, c) = [[p.detach() for p in part.parameters()] for part in (model.encoder, model.decoder)]
    draws = rng()
    h = x.flatten(1) @ w.T + b
    scale = 0.3 * (h.var(correction=0).sqrt() if relative else 1)
    for n, frame in enumerate(film):
        if reencode and n:
            h = g @ w.T + b
        h = h + scale * torch.randn(h.shape, generator=draws)
        g = h @ v.T + c
        torch.testing.assert_close(frame.flatten(1), g)


def test_without_encoding_again_a_walk_diffuses():
    """After n steps the code is n std^2 off, whatever the map makes of it."""
    model, x = Halving((1, 50, 50)), torch.rand(4, 1, 50, 50)
    *_, last = cf.Walk(steps=30, std=100.0, reencode=False)(model, x, rng(1))
    assert abs((last - x / 2).var() / (30 * 100.0**2) - 1) < 0.05


def test_noise_is_added_to_every_map_of_a_tuple_code():
    maps = (torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 40, 40))
    noisy = perturbed(maps, 0.5, rng(0))
    assert [m.shape for m in noisy] == [m.shape for m in maps]
    assert all(abs(m.std() - 0.5) < 0.05 for m in noisy)
    assert perturbed(maps, 0.0, Generator()) is maps


def test_relative_noise_is_in_proportion_to_each_map_and_plain_noise_is_not():
    x = torch.rand(3, 1, 60, 60)
    model = Halves((1, 60, 60))
    for relative, halves in ((True, (0.5, 0.5)), (False, (0.5, 0.05))):
        (frame,) = cf.Walk(1, 0.5, relative=relative)(model, x, rng())
        for moved, was, wanted in zip(frame.chunk(2, 2), x.chunk(2, 2), halves, strict=True):
            unit = was.std() if relative else 1
            assert abs((moved - was).std() / unit / wanted - 1) < 0.03


@pytest.mark.parametrize("reencode", [False, True])
def test_a_directed_walk_is_a_straight_line_to_the_next_image(reencode):
    """Over a projection the codes stay as they are when they are encoded again."""
    x = torch.rand(3, 1, 4, 4)
    film = list(cf.DirectedWalk(steps=5, reencode=reencode)(Halves((1, 4, 4)), x, rng()))
    for n, frame in enumerate(film, 1):
        torch.testing.assert_close(frame, (1 - n / 5) * x + n / 5 * x[[1, 2, 0]])
    (only,) = cf.DirectedWalk(steps=1, reencode=reencode)(Halves((1, 4, 4)), x, rng())
    torch.testing.assert_close(only, x[[1, 2, 0]])


def test_a_directed_walk_equals_its_explicit_loop():
    """Over a map that forgets half of it at every step."""
    model, x = Halving((1, 2, 2)), torch.rand(2, 1, 2, 2)
    film = list(cf.DirectedWalk(steps=3, std=0.1, reencode=True)(model, x, rng()))
    draws, h, target = rng(), x.flatten(1) / 2, x.flip(0).flatten(1) / 2
    for left, frame in zip((3, 2, 1), film, strict=True):
        h = h + (target - h) / left + 0.1 * torch.randn(h.shape, generator=draws)
        torch.testing.assert_close(frame.flatten(1), h)
        h = h / 2


@pytest.mark.parametrize(
    "sampler",
    [cf.Walk(3), cf.DirectedWalk(3), cf.Interpolation(3), cf.Traversal(steps=3), cf.FittedGaussian()],
    ids=lambda sampler: type(sampler).__name__,
)
def test_frames_have_the_sides_of_images_that_the_model_pads(sampler):
    x = torch.rand(2, 1, 7, 9)
    for frame in sampler(cf.UNet((1, 8, 8), width=4, depth=2).eval(), x, torch.Generator().manual_seed(0)):
        assert frame.shape == x.shape


def test_unflat_reverses_flat():
    maps = (torch.rand(2, 3, 4, 4), torch.rand(2, 5).double(), torch.rand(2, 1, 2))
    rows = torch.cat([m.flatten(1).double() for m in maps], dim=1)
    for made, was in zip(unflatten(rows, maps), maps, strict=True):
        assert torch.equal(made, was)
        assert made.dtype == was.dtype
    assert torch.equal(unflatten(rows[:, 48:53], maps[1]), maps[1])
