"""Missing pixels in losses, measures, probes, pictures, reports and trainings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import copyfold as cf
from copyfold import measures, pictures
from copyfold.cli._photos import tell_missing
from copyfold.errors import DataError, UsageError
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Classical
from copyfold.objectives.fidelities import (
    AbsoluteError,
    Bernoulli,
    ErrorAndAngle,
    Fidelity,
    HardPixels,
    Observed,
    SquaredError,
)
from copyfold.objectives.penalties import Divergence
from copyfold.types import Code, Images

NAN = float("nan")


class Free(Autoencoder):
    """D is an image of its own, whatever x is: what a loss does to it can be worked out by hand."""

    def __init__(self, shape: tuple[int, int, int], output: str = "linear") -> None:
        super().__init__(shape, output)
        self.image = nn.Parameter(torch.rand(shape))

    def encode(self, x: Images) -> Code:
        return x.flatten(1)[:, :1]

    def logits(self, z: Code) -> Images:
        return self.image.expand(len(z), *self.shape)


def with_missing(x: Images, share: float = 0.3, seed: int = 0) -> Images:
    gone = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(gone, NAN, x)


@pytest.fixture
def x() -> Images:
    return torch.rand(6, 2, 8, 8)


# ---------------------------------------------------------------- the fidelity


@pytest.mark.parametrize("inner", [SquaredError(), SquaredError(0.5, constant=True), AbsoluteError(), Bernoulli()])
def test_observed_equals_its_inner_fidelity_where_nothing_is_missing(inner: Fidelity, x: Images) -> None:
    model = cf.MLP((2, 8, 8), [16], 4, output="sigmoid")
    z = model.encode(x)
    plain, image = inner(model, z, x)
    observed, same = Observed(inner)(model, z, x)
    torch.testing.assert_close(observed, plain, rtol=1e-6, atol=0)
    assert torch.equal(image, same)
    if inner == SquaredError():
        assert observed.item() == plain.item()
        objective = Classical(fidelity=Observed())
        terms = [Classical()(model, x)["fidelity"].item(), objective(model, x)["fidelity"].item()]
        assert terms[0] == terms[1]


def test_observed_is_the_sum_over_observed_pixels(x: Images) -> None:
    model, holed = Free((2, 8, 8)), with_missing(x)
    seen = ~holed.isnan()
    for inner, nats in (
        (SquaredError(0.5), ((x - model.image) ** 2 / 0.5)),
        (AbsoluteError(2.0), ((x - model.image).abs() / 2)),
    ):
        loss, _ = Observed(inner)(model, model.encode(x), holed)
        expected = nats.detach().double()[seen].sum() / len(x)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    constant = Observed(SquaredError(constant=True))(model, model.encode(x), holed)[0]
    plain = Observed()(model, model.encode(x), holed)[0]
    assert (constant - plain).item() == pytest.approx(0.5 * np.log(2 * np.pi) * seen.sum().item() / 6, rel=1e-4)


@pytest.mark.parametrize("inner", [SquaredError(), AbsoluteError(), Bernoulli()])
def test_no_gradient_comes_from_missing_pixels(inner: Fidelity, x: Images) -> None:
    model, holed = Free((2, 8, 8), "sigmoid"), with_missing(x)
    holed[:, 0, 3, 4] = NAN  # in all images
    loss, _ = Observed(inner)(model, model.encode(x), holed)
    (gradient,) = torch.autograd.grad(loss, model.image)
    assert gradient[0, 3, 4] == 0
    assert gradient.isfinite().all()
    if inner != AbsoluteError():  # whose signs may cancel
        assert (gradient != 0).sum() == 2 * 8 * 8 - 1
    other = torch.where(holed.isnan(), NAN, x)
    assert torch.equal(loss, Observed(inner)(model, model.encode(x), other)[0])


def test_the_optimum_is_the_mean_of_the_observed_pixels() -> None:
    model, holed = Free((2, 8, 8)), with_missing(torch.rand(30, 2, 8, 8))
    with torch.no_grad():
        model.image.copy_(torch.from_numpy(np.nanmean(holed.numpy(), 0)))
    loss, _ = Observed()(model, torch.zeros(30, 1), holed)
    (gradient,) = torch.autograd.grad(loss, model.image)
    assert gradient.abs().max() < 1e-6
    squares = (holed.numpy() - model.image.detach().numpy()) ** 2
    assert loss.item() == pytest.approx(np.nansum(squares) / 60, rel=1e-5)


@pytest.mark.parametrize("inner", [HardPixels(), ErrorAndAngle(), Observed()])
def test_only_fidelities_of_independent_pixels_can_be_observed(inner: Fidelity) -> None:
    with pytest.raises(UsageError, match="expected a fidelity that is a sum over pixels"):
        Observed(inner)


def test_observed_asks_what_its_inner_fidelity_asks_of_a_model() -> None:
    with pytest.raises(UsageError, match="sigmoid"):
        Classical(fidelity=Observed(Bernoulli())).check(cf.MLP((1, 8, 8), [16], 4))


def test_the_objective_shows_the_model_filled_images_and_measures_the_rest(x: Images) -> None:
    holed = with_missing(x)
    model, seen = cf.MLP((2, 8, 8), [16], 4), []
    encode = model.encode
    model.encode = lambda x: (seen.append(x), encode(x))[1]
    watch: dict[str, torch.Tensor] = {}
    Classical(fidelity=Observed())(model, holed, watch)
    assert torch.equal(seen[0], measures.filled(holed))
    image = model(measures.filled(holed))
    errors = np.nanmean((holed - image).detach().double().square().flatten(1).numpy(), 1)
    assert watch["mse"].item() == pytest.approx(errors.mean(), rel=1e-5)
    assert watch["psnr"].item() == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-5)


def test_a_penalty_weighs_the_same(x: Images) -> None:
    model = cf.Variational(cf.MLP((2, 8, 8), [16], 4), 3)
    objective = Classical(fidelity=Observed(), penalties=[Divergence()])
    torch.manual_seed(0)
    plain = Classical(penalties=[Divergence()])(model, x)
    torch.manual_seed(0)
    assert {k: v.item() for k, v in objective(model, x).items()} == {k: v.item() for k, v in plain.items()}


# ---------------------------------------------------------------- measures and pictures


def test_filled_pixels_have_the_mean_of_their_image_and_channel(x: Images) -> None:
    assert torch.equal(measures.filled(x), x)
    holed = with_missing(x)
    holed[2, 1] = NAN
    found = measures.filled(holed)
    seen = ~holed.isnan()
    assert torch.equal(found[seen], holed[seen])
    assert found[0, 1][holed[0, 1].isnan()].unique().item() == pytest.approx(
        holed[0, 1].nanmean().item(), abs=1e-6
    )
    assert (found[2, 1] == 0.5).all()


def test_errors_leave_missing_pixels_of_the_second_images_out(x: Images) -> None:
    y, holed = torch.rand(6, 2, 8, 8), with_missing(x)
    expected = np.nanmean((y - holed).double().square().flatten(1).numpy(), 1)
    np.testing.assert_allclose(measures.mse(y, holed), expected, rtol=1e-5)
    np.testing.assert_allclose(measures.psnr(y, holed), -10 * np.log10(expected), rtol=1e-5)
    y[0, 0, 0, 0] = NAN  # a model that diverged is not excused
    assert measures.mse(y, x)[0].isnan()
    assert measures.mse(y, torch.where(torch.arange(8) == 5, NAN, x))[0].isnan()
    assert measures.mse(y, y)[0].isnan()


def test_the_mean_image_is_of_observed_pixels(x: Images) -> None:
    holed = with_missing(x)
    holed[:, 0, 0, 0] = NAN
    found = measures.mean_image(holed)
    assert found[0, 0, 0] == 0.5
    np.testing.assert_allclose(found.flatten()[1:], np.nanmean(holed.flatten(1)[:, 1:].numpy(), 0), rtol=1e-5)
    torch.testing.assert_close(measures.mean_image(x), x.mean(0))


def test_pictures_show_missing_pixels_in_grey_and_other_channels_as_planes(x: Images) -> None:
    holed = torch.zeros(1, 1, 4, 4)
    holed[0, 0, 1, 2] = NAN
    picture = pictures.grid(holed, scale=1)
    assert picture[1, 2].tolist() == [128, 128, 128]
    assert picture.sum() == 3 * 128
    planes = pictures.grid(torch.linspace(0, 1, 5).view(1, 5, 1, 1).expand(1, 5, 4, 6), scale=1)
    assert planes.shape == (4, 30, 3)
    assert planes[2, ::6, 0].tolist() == [0, 64, 128, 191, 255]
    assert pictures.grid(x, scale=1, columns=1).shape == (6 * 8 + 5 * 2, 16, 3)


# ---------------------------------------------------------------- probes


def test_probes_leave_missing_pixels_out(x: Images) -> None:
    model, rng = cf.MLP((2, 8, 8), [16], 4), torch.Generator().manual_seed(0)
    holed, reference = with_missing(x), with_missing(torch.rand(20, 2, 8, 8), seed=1)
    found = cf.Denoising(cf.Gaussian(0.2), reference)(model, holed, rng)
    assert all(value.isfinite().all() for value in found.numbers.values())
    with torch.no_grad():
        image = model(measures.filled(holed))
    expected = np.nanmean((image - holed).double().square().flatten(1).numpy(), 1)
    np.testing.assert_allclose(found.numbers["reconstruction"], expected, rtol=1e-5)
    probes = [
        cf.IdentityGap(),
        cf.SpectralNorm(iterations=2),
        cf.Stability(steps=3, reference=reference),
        cf.Latent(),
        cf.CodeStatistics(),
        cf.Nearest(reference),
        cf.Quality(reference, floor=with_missing(torch.rand(9, 2, 8, 8))),
        cf.Inversion(steps=2),
    ]
    for probe in probes:
        reading = probe(model, holed, rng)
        bad = [name for name, value in reading.numbers.items() if not value.isfinite().all()]
        assert not bad, (probe, bad)


def test_evidence_is_that_of_the_observed_pixels(x: Images) -> None:
    model = cf.Variational(cf.MLP((2, 8, 8), [16], 4), 3)
    probe = cf.Evidence(std=0.3, draws=4, steps=0)
    holed = with_missing(x)
    a, b = (probe(model, y, torch.Generator().manual_seed(0)).numbers for y in (holed, measures.filled(holed)))
    assert all(value.isfinite().all() for value in a.values())
    assert torch.equal(a["kl"], b["kl"])
    assert not torch.equal(a["elbo"], b["elbo"])
    with torch.no_grad():
        nats = torch.distributions.Normal(model(measures.filled(holed)), 0.3).log_prob(measures.filled(holed))
    lost = torch.where(holed.isnan(), nats, 0).flatten(1).sum(1)
    torch.testing.assert_close(b["elbo"] - a["elbo"], lost, rtol=0.2, atol=2.0)


# ---------------------------------------------------------------- trainings


def test_photos_with_missing_pixels_are_refused_without_observed(tmp_path: Path) -> None:
    array = with_missing(torch.rand(30, 1, 8, 8)).numpy()
    with pytest.raises(DataError) as caught:
        cf.fit(cf.MLP((1, 8, 8), [8], 2), None, cf.Photos(array, 8), tmp_path / "r", epochs=1)
    assert all(
        word in str(caught.value) for word in ("NaN", "masks=", "fidelity=Observed()", "--objective.fidelity")
    )
    assert "[0, 1]" not in str(caught.value)  # they are missing, not outside
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("make", [cf.Linear, lambda shape, latent_dim: cf.MLP(shape, [64], latent_dim)])
def test_training_with_a_third_missing_is_about_as_good_on_the_true_pixels(make, tmp_path: Path) -> None:
    photos = cf.Photos(size=8)
    digits = np.concatenate([photos.train, photos.held_out]) / 255
    observed = np.random.default_rng(0).random(digits.shape) > 0.3
    x = cf.Photos(digits, 8).images("held_out")
    plan = {"steps": 300, "lr": 3e-3, "optimizer": cf.Adam(), "batch": 64, "progress": False}
    trainings = {
        "control": (cf.Photos(digits, 8), SquaredError()),
        "observed": (cf.Photos(digits, 8, masks=observed), Observed()),
        "taken for white": (cf.Photos(np.where(observed, digits, 1), 8), SquaredError()),
    }
    errors = {}
    for name, (given, fidelity) in trainings.items():
        torch.manual_seed(0)
        model = make((1, 8, 8), latent_dim=12)
        run = cf.fit(model, Classical(fidelity=fidelity), given, tmp_path / name, **plan)
        assert np.isfinite(run.history["held_out_mse"]).all()
        with torch.no_grad():
            errors[name] = measures.mse(model(x), x).mean().item()
    assert errors["observed"] < 1.4 * errors["control"]
    assert errors["taken for white"] > 1.5 * errors["control"]


def test_a_run_with_masks_in_sixteen_bits_comes_back_and_is_reported(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-1000, 3000, (60, 3, 16, 16)).astype(np.int16)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "masks.npy", np.random.default_rng(1).random((60, 16, 16)) > 0.3)
    photos = cf.Photos(tmp_path / "a.npy", range=(-1000, 3000), masks=tmp_path / "masks.npy", flip=True)
    objective = Classical(fidelity=Observed(SquaredError(0.5)))
    run = cf.fit(
        cf.UNet(photos.shape, width=4, depth=1), objective, photos, tmp_path / "r", epochs=2, progress=False
    )
    assert run.recipe["range"] == [-1000, 3000]
    assert run.recipe["masks"] == str(tmp_path / "masks.npy")
    assert run.recipe["objective"]["init_args"]["fidelity"]["class_path"] == "Observed"
    assert np.isfinite(run.history["held_out_psnr"]).all()
    assert 0 < run.data["mean_error"] < 1

    from copyfold.cli._photos import own

    again = own(run, None)
    np.testing.assert_array_equal(again.train, photos.train)
    report = cf.diagnose(run.model, again, run, progress=False)
    missing = {name.rpartition(": ")[2] for name, value in report.numbers.items() if not np.isfinite(value)}
    assert missing <= {"novelty", "psnr", "image", "noise"}  # of samples like photos, and searches that arrived
    x = again.images("held_out")
    with torch.no_grad(), run.model.using("running"):
        errors = measures.mse(run.model(measures.filled(x)), x)
    assert report.numbers["mse"] == pytest.approx(errors.mean().item(), rel=1e-4)


def test_a_run_of_many_channels_in_sixteen_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((40, 5, 16, 16)).astype(np.float32) / 4
    photos = cf.Photos(values, layout="NCHW", bits=16, flip=True)
    run = cf.fit(cf.UNet(photos.shape, width=4, depth=1), None, photos, tmp_path / "r", epochs=2, progress=False)
    assert run.model.shape == (5, 16, 16)
    assert run.recipe["bits"] == 16
    report = cf.diagnose(run.model, photos, run, progress=False)
    assert "<img" in report.html


def test_solving_sees_sixteen_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((60, 6, 6)) / 1000  # within less than half a level of 8 bits
    photos = cf.Photos(values, 6, bits=16)
    run = cf.fit(cf.Linear(photos.shape, 30), None, photos, tmp_path / "r", solve=True, progress=False)
    x = photos.images("train")
    with torch.no_grad():
        left = measures.mse(run.model(x), x).mean() / x.var()
    assert left < 0.2


def test_a_training_in_sixteen_bits_of_eight_bit_pictures_is_the_same_to_the_bit(tmp_path: Path) -> None:
    pictures = cf.scenes(200, 16)
    runs = []
    for bits in (8, 16):
        torch.manual_seed(0)
        photos = cf.Photos(pictures, bits=bits, flip=True)
        model = cf.UNet(photos.shape, width=4, depth=1)
        # long enough for running averages to be estimated again
        runs.append(cf.fit(model, None, photos, tmp_path / str(bits), epochs=24, batch=64, progress=False))
    for (name, a), b in zip(runs[0].model.state_dict().items(), runs[1].model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert runs[0].history["held_out_loss"] == runs[1].history["held_out_loss"]


def test_a_command_says_that_missing_pixels_are_grey_in_pictures(caplog):
    caplog.set_level("INFO", "copyfold")
    array = np.random.default_rng(0).random((8, 6, 6, 1), np.float32)
    tell_missing(cf.Photos(array, layout="NHWC"))
    assert "grey in pictures" not in caplog.text
    array[:, 0, 0] = np.nan
    tell_missing(cf.Photos(array, layout="NHWC", masks=np.ones((8, 6, 6), bool)))
    assert "they are grey in pictures" in caplog.text
