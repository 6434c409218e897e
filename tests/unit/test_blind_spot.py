"""Learning from noisy images alone: what the model sees, what the loss is, and which images it is not for."""

import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional as F

import copyfold as cf
from copyfold.errors import UsageError
from copyfold.measures import noise_correlation
from copyfold.models.base import Autoencoder
from copyfold.objectives.blind_spot import BlindSpot, Replacement
from copyfold.testing import check_objective
from copyfold.types import Code, Images

NAN = float("nan")
REPLACEMENTS: tuple[Replacement, ...] = ("uniform", "mean", "median")


class Window(Autoencoder):
    """A linear denoiser: nine weights, those of a pixel and of its eight neighbours."""

    def __init__(self, shape: tuple[int, int, int], centre: float = 0.0, other: float = 0.125) -> None:
        super().__init__(shape)
        self.weights = nn.Parameter(torch.tensor([other] * 4 + [centre] + [other] * 4))

    def encode(self, x: Images) -> Code:
        return x

    def logits(self, z: Code) -> Images:
        assert isinstance(z, Tensor)
        kernel = self.weights.view(1, 1, 3, 3).expand(z.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(z, (1, 1, 1, 1), mode="circular"), kernel, groups=z.shape[1])


def hidden(objective: BlindSpot, x: Images, seed: int = 0) -> tuple[Images, Tensor]:
    torch.manual_seed(seed)
    return objective.hide(x)


def with_missing(x: Images, share: float = 0.3) -> Images:
    return torch.where(torch.rand(x.shape, generator=Generator().manual_seed(1)) < share, NAN, x)


# ---------------------------------------------------------------- what the model sees


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("rate", [0.02, 0.5])
@pytest.mark.parametrize("missing", [False, True])
def test_what_the_model_sees_does_not_depend_on_masked_values(
    replacement: Replacement, rate: float, missing: bool
) -> None:
    objective, x = BlindSpot(rate=rate, replacement=replacement), torch.rand(3, 2, 13, 9)
    x = with_missing(x) if missing else x
    seen, masked = hidden(objective, x)
    others = torch.where(masked, 100 * torch.rand_like(x), x)
    others = torch.where(x.isnan(), NAN, others)
    again, same = hidden(objective, others)
    assert torch.equal(masked, same)
    assert torch.equal(seen, again)
    assert seen.isfinite().all()


def test_so_many_pixels_are_masked_in_all_channels_and_the_others_are_the_image() -> None:
    x = torch.rand(4, 3, 20, 10)
    seen, masked = hidden(BlindSpot(rate=0.1), x)
    assert masked.shape == (4, 1, 20, 10)
    assert masked.sum((1, 2, 3)).tolist() == [20] * 4
    assert not torch.equal(masked[0], masked[1])
    assert torch.equal((seen != x).all(1, keepdim=True), masked)
    assert torch.equal((seen != x).any(1, keepdim=True), masked)
    assert hidden(BlindSpot(rate=0.001), x)[1].sum() == 4  # one of each at least


def test_every_neighbour_within_the_image_is_as_likely_and_the_centre_never_is() -> None:
    x = torch.arange(30.0).view(1, 1, 6, 5).expand(3000, -1, -1, -1)  # a value says where it is from
    seen, masked = hidden(BlindSpot(rate=1 / 30, radius=1, replacement="uniform"), x)
    found: dict[int, Counter[int]] = {at: Counter() for at in range(30)}
    for at, taken in zip(x[masked].int().tolist(), seen[masked].int().tolist(), strict=True):
        found[at][taken] += 1
    for at, drawn in found.items():
        row, column = divmod(at, 5)
        top, left = min(max(row - 1, 0), 3), min(max(column - 1, 0), 2)
        window = {5 * i + j for i in range(top, top + 3) for j in range(left, left + 3)} - {at}
        assert drawn.keys() <= window
        assert max(drawn.values()) <= 4 * drawn.total() / 8  # of 100 draws 12.5 expected, 33 is 6 std above
    assert sum(len(drawn) for drawn in found.values()) == 30 * 8


def test_the_mean_and_the_median_are_those_of_numpy() -> None:
    x = torch.rand(1, 2, 7, 8)
    cases: list[tuple[Replacement, Any]] = [("mean", np.nanmean), ("median", np.nanmedian)]
    for replacement, function in cases:
        seen, masked = hidden(BlindSpot(rate=0.1, radius=1, replacement=replacement), x)
        known = x.masked_fill(masked, NAN).numpy()
        for row, column in masked[0, 0].nonzero().tolist():
            top, left = min(max(row - 1, 0), 4), min(max(column - 1, 0), 5)
            window = known[0, :, top : top + 3, left : left + 3].reshape(2, -1)
            usable = np.sort(window[:, np.isfinite(window[0])], 1)
            if replacement == "median" and usable.shape[1] % 2 == 0:  # the lower of the two
                usable = usable[:, :-1]
            np.testing.assert_allclose(seen[0, :, row, column], function(usable, axis=1), rtol=1e-6)


def test_missing_pixels_are_neither_masked_nor_taken() -> None:
    x = with_missing(torch.rand(2, 1, 12, 12), 0.6)
    seen, masked = hidden(BlindSpot(rate=0.3, replacement="uniform"), x)
    assert not (masked & x.isnan()).any()
    known = set(x[~x.isnan() & ~masked].tolist())
    assert set(seen[masked].tolist()) <= known
    blank = torch.full((1, 1, 6, 6), NAN)
    assert hidden(BlindSpot(), blank)[1].sum() == 0
    terms = BlindSpot()(Window((1, 6, 6)), blank)
    assert terms["fidelity"].item() == 0


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize(("centre", "other"), [(1.0, 0.0), (0.0, 0.125), (0.3, 0.0875)])
def test_the_loss_is_the_supervised_one_plus_the_variance_of_the_noise(centre: float, other: float) -> None:
    """On a grey image with white noise the error of the linear denoiser can be worked out, and s is known."""
    std, x = 0.2, 0.5 + 0.2 * torch.randn(64, 1, 64, 64)
    objective, watch = BlindSpot(rate=0.005, replacement="uniform"), {}
    torch.manual_seed(3)
    loss = objective(Window((1, 64, 64), centre, other), x, watch)["fidelity"].item() / 64**2
    # its own pixel is another one of the 5x5, which is one of the eight neighbours with probability 8/24
    supervised = std**2 * (8 * other**2 + centre**2 + 2 * centre * other * 8 / 24)
    assert loss == pytest.approx((supervised + std**2) / 2, rel=0.05)
    assert watch["mse"].item() == pytest.approx(2 * loss, rel=1e-4)

    torch.manual_seed(3)
    seen, masked = objective.hide(x)
    error = (Window((1, 64, 64), centre, other)(seen) - 0.5)[masked].square().mean().item()  # against s itself
    assert 2 * loss - error == pytest.approx(std**2, rel=0.05)


def test_copying_is_the_worst_and_training_finds_the_best_linear_denoiser() -> None:
    """Its nine weights, from the minimum of 8 w^2 + c^2 + 2 c w / 3 with 8 w + c = 1: c = 32 w / 46."""
    model, x = Window((1, 32, 32), 1.0, 0.0), 0.5 + 0.2 * torch.randn(32, 1, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - step / 150)
        optimizer.zero_grad()
        (BlindSpot(rate=0.1, replacement="uniform")(model, x)["fidelity"] / 1024).backward()
        optimizer.step()
    w = 1 / (8 + 32 / 46)
    weights = model.weights.detach()
    others = torch.cat((weights[:4], weights[5:]))
    assert others.mean().item() == pytest.approx(w, abs=0.01)
    assert weights[4].item() == pytest.approx(32 / 46 * w, abs=0.03)
    assert (model(x) - 0.5).std().item() < 0.2 * 0.4  # a third of the noise, as supervised: 1/3


def test_missing_pixels_have_no_part_in_the_loss() -> None:
    x, model = torch.rand(4, 2, 16, 16), Window((2, 16, 16))
    holed, watch = with_missing(x), {}
    torch.manual_seed(0)
    loss = BlindSpot(rate=0.2)(model, holed, watch)["fidelity"]
    (gradient,) = torch.autograd.grad(loss, model.weights)
    assert gradient.isfinite().all()
    torch.manual_seed(0)
    seen, masked = BlindSpot(rate=0.2).hide(holed)
    errors = (model(seen) - holed).square().detach()[(masked & ~holed.isnan())]
    observed = (~holed.isnan()).sum().item()
    assert loss.item() == pytest.approx(errors.mean().item() / 2 * observed / 4, rel=1e-4)
    assert watch["mse"].item() == pytest.approx(errors.mean().item(), rel=1e-4)


def test_images_of_which_nothing_is_known_cost_nothing() -> None:
    watch: dict[str, torch.Tensor] = {}
    loss = BlindSpot()(Window((2, 16, 16)), torch.full((2, 2, 16, 16), torch.nan), watch)["fidelity"]
    assert (loss.item(), watch["mse"].item()) == (0, 0)


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("fidelity", [cf.SquaredError(0.5), cf.AbsoluteError()])
def test_it_behaves_as_every_objective(replacement: Replacement, fidelity: cf.SquaredError) -> None:
    check_objective(BlindSpot(fidelity, 0.1, 3, replacement))


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path: Path) -> None:
    def trained(name: str, *stops: int) -> dict[str, Tensor]:
        for stop in stops:
            torch.manual_seed(0)
            model = cf.UNet((1, 8, 8), 4, 1, "concat", "none")
            plan: dict[str, Any] = {"steps": stop, "batch": 4, "schedule": "constant", "threads": 1}
            cf.fit(model, BlindSpot(), cf.Photos(size=8), tmp_path / name, resume=True, **plan)
        return cf.runs.open(tmp_path / name).model.state_dict()

    once, twice = trained("once", 6), trained("twice", 3, 6)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    row = cf.runs.open(tmp_path / "once").history[-1]
    assert {"held_out_loss", "held_out_mse"} <= row.keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rate": 0.0}, r"rate=0.0\) is invalid"),
        ({"rate": 0.6}, "at most 0.5"),
        ({"radius": 0}, "radius=0"),
        ({"fidelity": cf.Observed()}, "missing pixels are left out of it anyway"),
        ({"fidelity": cf.HardPixels()}, "a sum over pixels"),
    ],
)
def test_what_it_cannot_do_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BlindSpot(**arguments)


def test_images_of_one_pixel_have_no_neighbours() -> None:
    with pytest.raises(UsageError, match="neighbours"):
        BlindSpot().check(cf.MLP((3, 1, 1), [4], 2))
    seen, masked = hidden(BlindSpot(radius=5), torch.tensor([[[[1.0, 2.0]]]]))
    assert seen.unique().numel() == 1
    assert masked.sum() == 1


# ---------------------------------------------------------------- whether the noise is white


def scenes(count: int = 24, side: int = 96) -> Images:
    """Images of soft shading and discs, whose edges are sharp."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    made = []
    for _ in range(count):
        image = 0.5 + 0.2 * np.sin(rng.uniform(0, 5) * x + rng.uniform(0, 6)) * np.cos(rng.uniform(0, 5) * y)
        for _ in range(6):
            at, radius = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.2)
            image[(y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2] += rng.uniform(-0.2, 0.2)
        made.append(image)
    return torch.from_numpy(np.stack(made)[:, None]).float()


def white(x: Images) -> Images:
    return torch.randn(x.shape, generator=Generator().manual_seed(5))


def blurred(noise: Images, std: float) -> Images:
    made = cf.Blur(9, std)(noise)
    return made / made.std()


def rows(x: Images) -> Images:
    return torch.randn((*x.shape[:3], 1), generator=Generator().manual_seed(6)).expand_as(x)


def jpeg(x: Images, quality: int) -> Images:
    def again(image: Tensor) -> Tensor:
        file = io.BytesIO()
        pixels = (255 * image[0].clamp(0, 1)).round().byte().numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file)))[None] / 255

    return torch.stack([again(image) for image in x])


def bsd68(folder: Path) -> Images:
    files = sorted((folder / "train").glob("*.png"))[::8]
    return torch.stack([torch.from_numpy(np.array(Image.open(file)))[None] for file in files]) / 255


def judged(x: Images) -> None:
    """White noise is accepted; correlated noise, and none, are not."""
    noise, doubt = white(x), BlindSpot().doubt
    for std in (10, 25, 50):
        assert doubt(x + std / 255 * noise) is None
        assert doubt((x + std / 255 * noise).clamp(0, 1)) is None
        for correlated in (blurred(noise, 0.5), blurred(noise, 1.0), (noise + rows(x)) / 2**0.5):
            said = doubt(x + std / 255 * correlated)
            assert said is not None
            assert "correlated, by 0." in said
    for image, words in (
        (x, "hardly any noise"),
        (x + 10 / 255 * rows(x), "horizontally"),
        (x + 10 / 255 * rows(x.mT).mT, "vertically"),
        (jpeg(x + 25 / 255 * noise, 50), "correlated"),
        (jpeg(x + 10 / 255 * noise, 75), "correlated"),
    ):
        said = doubt(image)
        assert said is not None
        assert words in said


def test_white_noise_is_told_from_correlated_noise_and_from_none() -> None:
    judged(scenes())


def test_so_it_is_on_real_photographs(bsd68_images: Path) -> None:
    judged(bsd68(bsd68_images))


def test_the_correlations_of_known_noise_are_found() -> None:
    """A moving average n_i + a n_{i+1} has correlation a / (1 + a^2) with the next pixel, and none farther."""
    noise = torch.randn(40, 1, 97, 97, generator=Generator().manual_seed(0))
    cases = {
        (0, 1): noise[..., :, :-1] + 0.5 * noise[..., :, 1:],
        (1, 0): noise[..., :-1, :] - 0.5 * noise[..., 1:, :],
        (1, 1): noise[..., :-1, :-1] + 0.3 * noise[..., 1:, 1:],
        (1, -1): noise[..., :-1, 1:] + 0.3 * noise[..., 1:, :-1],
    }
    for place, ((d, x), a) in enumerate(zip(cases.items(), (0.5, -0.5, 0.3, 0.3), strict=True)):
        std, correlation, error = noise_correlation(0.1 * x)
        expected = torch.zeros(4, dtype=torch.float64)
        expected[place] = a / (1 + a * a)
        torch.testing.assert_close(correlation, expected, atol=0.08, rtol=0, msg=f"{d}: {correlation}")
        assert std.item() == pytest.approx(0.1 * (1 + a * a) ** 0.5, rel=0.15)
        assert 0 < error < 0.02
    plain = torch.stack([noise_correlation(x)[1] for x in noise.view(8, 5, 1, 97, 97)])
    assert plain.abs().max() < 0.04


def test_small_or_flat_images_have_no_measure_and_no_doubt() -> None:
    for x in (torch.rand(9, 1, 7, 9), torch.full((40, 1, 16, 16), 0.5), torch.full((9, 1, 16, 16), NAN)):
        assert all(value.isnan().all() for value in noise_correlation(x))
        assert BlindSpot().doubt(x) is None
    holed = with_missing(torch.rand(400, 1, 16, 16), 0.01)
    assert noise_correlation(holed)[1].abs().max() < 0.1


def test_fit_says_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "copyfold")
    x = scenes(16, 32)
    noise = 0.1 * white(x)

    def warned(name: str, images: Images, objective: cf.Objective, steps: int = 1) -> list[str]:
        caplog.clear()
        source = images.clamp(0, 1)
        model = cf.MLP(tuple(source.shape[1:]), [4], 2)  # type: ignore[arg-type]
        cf.fit(model, objective, source, tmp_path / name, resume=True, steps=steps)
        return [record.message for record in caplog.records if "correlated" in record.message]

    assert not warned("white", x + noise, BlindSpot())
    assert len(warned("blurred", x + blurred(noise, 1.0) / 10, BlindSpot())) == 1
    assert not warned("blurred", x + blurred(noise, 1.0) / 10, BlindSpot(), 2)  # resumed
    assert not warned("other", x + blurred(noise, 1.0) / 10, cf.Classical())
