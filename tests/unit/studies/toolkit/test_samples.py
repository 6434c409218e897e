"""Measures of sets of images that claims on walks and samples use, against known answers."""

import numpy as np
import pytest
import torch
from torch import Generator

from copyfold.corruptions import Blur, Gaussian
from copyfold.measures import sharpness
from copyfold.models.dense import MLP
from copyfold.probes import quality
from copyfold.samplers.walk import Walk
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import samples
from copyfold.studies.toolkit.networks import restored
from labs import Centred


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "PATCHES", 1024)
    return Lab(BUDGETS["tiny"], {}, tmp_path)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def test_films_are_sampled_in_batches_as_in_training():
    x = normal(20, 1, 8, 8)
    expected = torch.cat([part - part.mean(0) for part in (x[:10], x[10:])])  # equal ones, of 16 at most
    frames = list(samples.film(Walk(3, 0.0), Centred((1, 8, 8)), x, Generator()))
    assert len(frames) == 3
    torch.testing.assert_close(samples.last(frames), expected)
    torch.testing.assert_close(restored(Centred((1, 8, 8)), x), expected)


def test_the_essays_steps_are_kept_but_at_the_smallest_budget(tmp_path):
    steps = {name: Lab(budget, {}, tmp_path / name) for name, budget in BUDGETS.items()}
    assert [samples.essay_steps(lab, 300) for lab in steps.values()] == [2, 300, 300]
    assert [samples.essay_steps(lab, 300, 100) for lab in steps.values()] == [2, 100, 300]
    assert samples.essay_steps(steps["tiny"], 1) == 1


def test_long_range_correlations_equal_numpy_s():
    x = normal(30, 2, 8, 8)
    found = samples.far_correlations(x)
    expected = np.corrcoef(x[:, 1].flatten(1).double().numpy().T)
    places = [
        (i, j) for i in range(64) for j in range(i, 64) if max(abs(i // 8 - j // 8), abs(i % 8 - j % 8)) >= 4
    ]
    assert found.shape == (2, len(places))
    np.testing.assert_allclose(found[1].numpy(), [expected[i, j] for i, j in places], atol=1e-12)


def test_the_order_of_mirrored_images_is_known():
    half = normal(400, 1, 16, 8)
    mirrored, noise = torch.cat((half, half.flip(3)), 3), normal(400, 1, 16, 16, seed=1)
    assert samples.order_error(mirrored, mirrored) == 0
    assert samples.order_error(mirrored.flip(0), mirrored) == pytest.approx(0, abs=1e-6)
    # of the far pairs, those that are each other's mirror image correlate fully, and no others
    far = samples.far_correlations(mirrored)
    assert (far > 0.99).sum() == 8 * 2  # in every row the two outermost pairs are half of the side apart
    expected = (8 * 2 / far.numel()) ** 0.5
    assert samples.order_error(noise, mirrored) == pytest.approx(expected, rel=0.3)
    flat = torch.full((400, 1, 16, 16), 0.5)
    assert not samples.far_correlations(flat).any()


def test_the_linear_model_has_mean_and_covariance():
    mixing = normal(16, 16, seed=2)
    x = (normal(200, 16) @ mixing + 3).view(-1, 1, 4, 4)
    drawn = samples.normal_images(x, 20_000, Generator().manual_seed(1)).flatten(1)
    torch.testing.assert_close(drawn.mean(0), x.flatten(1).mean(0), atol=0.15, rtol=0)
    covariance = x.flatten(1).T.cov()
    assert (drawn.T.cov() - covariance).norm() < 0.05 * covariance.norm()


def test_sets_of_samples_are_ranked_by_quality(lab):
    x = lab.images(lab.photos("landscapes", 16))
    sets = {"same": x, "blurred": Blur(7, 2.0)(x), "noisy": Gaussian(0.3)(x, lab.rng(0, "noise"))}
    found = samples.judged(lab, MLP((1, 16, 16), [64], 8), sets, 16, 0)
    for what in ("patch distance", "Frechet distance", "sharpness"):
        assert found[f"{what}, same"] == pytest.approx(found[f"{what}, real"], rel=0.2)
    assert found["patch distance, same"] < found["patch distance, blurred"] < found["patch distance, noisy"]
    assert found["sharpness, blurred"] < 0.5 < 2 < found["sharpness, noisy"]


def test_ratios_of_seeds_are_averaged_by_their_logarithms():
    found = samples.pooled([{"a over b": 1.0, "a": 1.0}, {"a over b": 4.0, "a": 4.0}])
    assert (found["a over b"].value, found["a"].value) == (pytest.approx(2), 2.5)
    assert found["a over b"].low > 0


def test_shared_networks_are_trained_once_for_as_long_as_they_gain(tmp_path, monkeypatch):
    lab, asked = Lab(BUDGETS["cpu"], {}, tmp_path), []

    def trained(make, photos, seed, **plan):
        asked.append((make(photos.shape), plan["steps"]))
        return MLP(photos.shape, [4], 2)  # which copies nothing, so that no training is enough

    monkeypatch.setattr(lab, "trained", trained)
    samples.hidden_copier(lab, 0)
    assert [steps for _, steps in asked] == [1000]  # a longer training leaves more
    assert asked[0][0].shape == (1, 32, 32)
    assert sum(torch.Size(shape).numel() for shape in asked[0][0].code_shapes()) == 100
    asked.clear()
    samples.large_copier(lab, 0)
    assert [steps for _, steps in asked] == [1500, 3000, 6000]
    assert asked[0][0].shape == (1, 64, 64)


def test_a_number_that_a_seed_lacks_is_that_of_the_others():
    found = samples.pooled([{"a": 1.0}, {"a": 3.0, "b": 2.0}, {"a": 2.0, "b": 4.0}])
    assert (found["a"].value, found["b"].value) == (2, 3)
    assert found["b"].seeds == (2.0, 4.0)


def test_photographs_are_blurred_until_they_are_as_sharp():
    x = torch.rand(8, 1, 32, 32, generator=Generator().manual_seed(0))
    like = Blur(9, 1.2)(x)
    blurred = samples.blurred_to(x, like)
    assert sharpness(blurred).mean().item() == pytest.approx(sharpness(like).mean().item(), rel=0.01)
    torch.testing.assert_close(blurred, like, atol=0.02, rtol=0)
    assert samples.blurred_to(like, x) is like  # no image becomes sharper
    flat = samples.blurred_to(x, torch.full_like(x, 0.5))
    assert sharpness(flat).max() < 1e-6


def test_images_are_judged_as_they_are_shown():
    x = torch.tensor([-1.0, 0.25, 2.0, float("nan")])
    assert samples.as_shown(x).tolist() == [0, 0.25, 1, 0.5]
