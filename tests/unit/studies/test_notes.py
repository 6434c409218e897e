"""The notes' studies of bottlenecks and VAEs, on models whose answer is known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from copyfold.claims.notes import linear_is_pca as notes
from copyfold.claims.notes import only_variational_samples as notes_variational
from copyfold.claims.notes.linear_is_pca import (
    LinearIsPCA,
    classed,
    contestants,
    costs,
    fashion,
    pca,
    purities,
    shared,
)
from copyfold.claims.notes.only_variational_samples import (
    LATENT,
    faded,
    judged,
    plain,
    straight,
    unevenness,
    variational,
)
from copyfold.measures import mse
from copyfold.models.dense import Linear
from copyfold.objectives.base import Classical
from copyfold.objectives.penalties import Contraction
from copyfold.studies.base import Estimate, Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab

SHAPE = (1, 8, 8)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(BUDGETS["tiny"], cache=tmp_path)


def images(count: int, rank: int = 6) -> Tensor:
    """Images on a plane of so many dimensions, off the origin, with variances 1, 1/2, 1/3 ..."""
    directions = torch.linalg.qr(torch.randn(64, rank)).Q
    spread = torch.randn(count, rank) / torch.arange(1, rank + 1).sqrt()
    return (0.5 + spread @ directions.T).view(count, *SHAPE)


def test_pca_gives_back_what_lies_in_its_plane() -> None:
    x = images(200)
    assert mse(pca(x, 6)(x), x).max() < 1e-10
    torch.testing.assert_close(
        pca(x, 6)(torch.full((1, *SHAPE), 0.5))[0].mean(), torch.tensor(0.5), atol=0.02, rtol=0
    )


def test_pca_leaves_the_variance_of_the_other_components() -> None:
    x = images(4000)
    values = torch.linalg.eigvalsh(torch.cov(x.flatten(1).T, correction=0))
    left = (pca(x, 4)(x) - x).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(left, values[:-4].sum(), rtol=1e-3, atol=0)


def test_pca_has_no_more_components_than_there_are_images() -> None:
    assert pca(images(5), 30).latent_dim == 5


def test_the_space_is_the_same_in_any_basis_and_chance_is_far_from_it() -> None:
    exact = pca(images(200), 6)
    turned, other = Linear(SHAPE, 6), Linear(SHAPE, 6)
    turned.decoder[0].weight.data = exact.decoder[0].weight.data @ torch.randn(6, 6)
    torch.testing.assert_close(shared(turned, exact), torch.ones(6), atol=1e-4, rtol=0)
    assert shared(other, exact).square().mean() < 0.4


def test_a_network_before_training_is_not_pca(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        notes, "learned", lambda lab, make, photos, seed, epochs, **plan: lab.untrained(make, photos, seed)
    )
    found = LinearIsPCA().measure(lab).numbers
    assert LinearIsPCA().verdict({name: whole(e) for name, e in found.items()}) is Verdict.FAILS
    assert found["overlap"].value == pytest.approx(found["overlap, untrained"].value)


def test_pca_itself_is_pca(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = fashion(lab)
    exact = pca(lab.images(photos, "train", len(photos)), notes.CODE)
    monkeypatch.setattr(notes, "learned", lambda *args, **kwargs: exact)
    found = LinearIsPCA().measure(lab).numbers
    assert found["error over pca"].value == pytest.approx(1)
    assert found["overlap"].value == pytest.approx(1, abs=1e-5)
    # the same error is not a smaller one
    assert LinearIsPCA().verdict({name: whole(e) for name, e in found.items()}) is not Verdict.HOLDS


def whole(e: Estimate) -> Estimate:
    """Without the endless interval of a single seed."""
    return Estimate(e.value, max(e.low, e.value - 0.01), min(e.high, e.value + 0.01), e.n, e.seeds)


def test_classes_apart_agree_and_classes_in_one_heap_do_not() -> None:
    labels = torch.arange(4).repeat_interleave(30)
    assert purities(torch.nn.functional.one_hot(labels).float() + 0.01 * torch.randn(120, 4), labels).mean() == 1
    assert purities(torch.randn(120, 4), labels).mean() < 0.4


def test_an_image_has_its_own_class(lab: Lab) -> None:
    photos = fashion(lab, classes=True)
    x, labels = classed(lab, photos)
    pixels = torch.from_numpy(photos.held_out).permute(0, 3, 1, 2).float() / 255
    for image, label in zip(x, labels, strict=True):
        same = (pixels == image).flatten(1).all(1).nonzero()[:, 0]
        assert label.item() in {int(photos.held_out_labels[i]) for i in same.tolist()}


@pytest.mark.parametrize("side", [16, 28])
def test_the_contestants_are_as_large_as_they_should_be(side: int) -> None:
    mlp, cnn, narrow, small = (make((1, side, side)).summary() for make in contestants((1, side, side)))
    assert mlp.code_size == 30
    assert 20 < narrow.code_size <= 30
    assert 0.98 * cnn.parameters < small.parameters <= cnn.parameters
    if side == 28:
        assert (mlp.parameters, cnn.code_size) == (163_814, 576)


def test_the_vae_has_the_layers_of_the_plain_autoencoder_and_its_code() -> None:
    alone, vae = plain(SHAPE), variational(SHAPE)
    assert alone.code_shapes() == vae.code_shapes() == ((LATENT,),)
    # the VAE can be the plain one: its core's code goes through to the mean, and back
    state = vae.core.state_dict()
    for name, value in alone.state_dict().items():
        state[name] = torch.cat((value, torch.zeros_like(value))) if state[name].shape[0] != len(value) else value
        if state[name].shape != vae.core.state_dict()[name].shape:
            state[name] = torch.cat((value, torch.zeros_like(value)), dim=1)
    vae.core.load_state_dict(state)
    eye = torch.eye(LATENT)
    vae.head.weight.data = torch.zeros_like(vae.head.weight)
    vae.head.weight.data[:LATENT, :LATENT] = eye
    vae.lift.weight.data = torch.cat((eye, torch.zeros_like(eye)))
    vae.head.bias.data.zero_()
    vae.lift.bias.data.zero_()
    x = torch.rand(3, *SHAPE)
    torch.testing.assert_close(vae(x), alone(x))


def test_samples_are_judged() -> None:
    x, judge = images(400), pca(images(400), 6)
    real, mean = judged(judge, x[:200], x[200:]), judged(judge, x.mean(0).expand(200, *SHAPE), x[200:])
    noise = judged(judge, 3 * torch.randn(200, *SHAPE), x[200:])
    assert real[0] < 0.2 < 0.8 < mean[0] < 1.2 < noise[0]
    assert real[1] > 0.8 > 0.1 > noise[1]


def test_a_straight_way_is_even_and_a_jump_is_not() -> None:
    x = images(4)
    assert unevenness(faded(x)).allclose(torch.ones(4), atol=1e-4)
    assert unevenness(straight(pca(images(200), 6), x)).allclose(torch.ones(4), atol=1e-3)
    jump = torch.stack([x, x, x, x.roll(-1, 0)])
    assert unevenness(jump).allclose(torch.full((4,), 3.0))
    assert unevenness(torch.stack([x, x])).allclose(torch.ones(4))
    assert notes_variational.faded(x)[-1].allclose(x.roll(-1, 0))


def test_more_work_costs_more(lab: Lab) -> None:
    make = contestants(SHAPE)[0]
    steps = {
        "plain": (make(SHAPE), Classical()),
        "exact": (make(SHAPE), Classical(penalties=[Contraction(1.0, "exact")])),
    }
    assert costs(lab, steps, torch.rand(32, *SHAPE))["exact"] > 1.2
