"""What is said at the end of a training that went wrong, and that nothing is where it went well."""

import pytest
import torch

import copyfold as cf
from copyfold.data import scenes
from copyfold.training.closing import _smaller
from copyfold.training.symptoms import jumps, not_learned, overfitting, pca_left, relapse


def rows(name: str, *values: float, every: int = 100) -> list[dict[str, float]]:
    return [{"step": float(every * (k + 1)), name: value} for k, value in enumerate(values)]


def both(training: list[float], held_out: list[float]) -> list[dict[str, float]]:
    pairs = zip(rows("mse", *training), rows("held_out_mse", *held_out), strict=True)
    return [a | b for a, b in pairs]


def test_nothing_is_said_of_a_training_that_went_well():
    well = both([0.04, 0.01, 0.004], [0.04, 0.011, 0.005])
    well = [row | {"loss": 1000 * row["mse"]} for row in well]
    said = not_learned(well, 0.06, 32, 0.2, whole_code=False)
    assert [*said, *overfitting(well), *relapse(well, 0.02), *jumps(well, 0.02)] == []


def test_nothing_is_said_of_a_log_without_rows():
    assert [*not_learned([], 0.06, 32, 0.2, whole_code=False), *overfitting([]), *relapse([], 1.0)] == []
    assert jumps([], None) == []


def test_what_has_not_yet_learned_to_copy_is_said_with_what_pca_leaves():
    poor = rows("held_out_mse", 0.06, 0.03)
    (said,) = not_learned(poor, 0.06, 100, 0.12, whole_code=False)
    assert "50% of the held-out images' variance is left, and 100 principal components leave 12%" in said
    assert said.endswith("(more minutes, steps or epochs)")
    (said,) = not_learned(poor, 0.06, 8, 0.4, whole_code=True, faster=["size", "width"])
    assert said.endswith(", or with a smaller size or width, whose steps are faster")
    assert "8 principal components, as many as the code has numbers, leave 40%" in said


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        (cf.MLP((1, 8, 8), (4,), 2), 8, []),
        (cf.MLP((1, 64, 64), (4,), 2), 64, ["size"]),
        (cf.UNet((1, 64, 64), width=4, depth=1), 64, ["size", "width"]),
        (cf.Variational(cf.UNet((1, 16, 16), width=4, depth=1, skips="none"), 2), 16, ["width"]),
    ],
)
def test_what_may_be_smaller_is_what_the_model_and_the_images_have(model, size, words):
    assert _smaller(model, cf.Photos(scenes(4, size, channels=1), size)) == words


def test_a_small_code_that_does_as_well_as_pca_has_learned():
    assert not_learned(rows("held_out_mse", 0.03), 0.06, 8, 0.5, whole_code=True) == []
    assert not_learned(rows("held_out_mse", 0.032), 0.06, 8, 0.5, whole_code=True) == []  # 53 % where PCA has 50
    assert len(not_learned(rows("held_out_mse", 0.032), 0.06, 100, 0.5, whole_code=False)) == 1
    assert not_learned(rows("held_out_mse", 0.009), 0.06, 100, 0.01, whole_code=False) == []  # 15 % left, at most


def test_overfitting_is_said_only_where_the_held_out_error_has_risen():
    (said,) = overfitting(both([0.02, 0.005, 0.002], [0.02, 0.008, 0.01]))
    for word in ("0.01 on held-out", "0.002 on training images", "0.008 at step 200", "best/"):
        assert word in said
    assert overfitting(both([0.02, 0.005, 0.002], [0.02, 0.012, 0.01])) == []  # far above, and still falling
    assert overfitting(both([0.02, 0.005, 0.008], [0.02, 0.008, 0.01])) == []  # risen, as training's has


def test_an_error_that_rises_far_again_is_said():
    (found,) = relapse(rows("held_out_mse", 0.02, 0.003, 0.05), 2e-3)
    for word in ("is 0.05,", "0.003 at step 200", "lr below 0.002"):
        assert word in found
    (found,) = relapse(rows("held_out_mse", 2e-5, 3e-6, 4e20), 2e-3)  # small and large numbers are readable too
    assert "is 4e+20, and was 3e-06 at" in found
    assert relapse(rows("held_out_mse", 0.02, 0.003), 1e-3) == []
    assert relapse(rows("held_out_mse", 0.003, 0.006), 1e-3) == []


def test_a_loss_that_doubles_again_and_again_is_said():
    wild = [9.0, 3.0, 8.0, 3.0, 7.0, 2.0, 9.0]
    (said,) = jumps(rows("loss", *wild), 0.5)
    assert "doubled 3 times" in said
    assert "lr below 0.5" in said
    assert jumps(rows("loss", *wild[:5]), 0.5) == []  # twice may be chance
    assert jumps(rows("loss", *wild, every=1), 0.5) == []  # single batches differ that much


@pytest.mark.parametrize("pixels", [6, 60])
def test_pca_leaves_nothing_of_images_in_as_many_directions_and_all_of_it_without_any(pixels):
    rng = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(pixels, 3, generator=rng)).Q
    training, held_out = (torch.randn(20, 3, generator=rng) @ directions.T + 0.5 for _ in range(2))
    training, held_out = (x.view(20, 1, 2, -1) for x in (training, held_out))
    variance, left = pca_left(training, held_out, 3)
    assert variance == pytest.approx((held_out - training.mean(0)).square().mean().item(), rel=1e-5)
    assert left == pytest.approx(0, abs=1e-5)
    assert 0.1 < pca_left(training, held_out, 2)[1] < 0.9
    assert pca_left(training, held_out, 5)[1] == pytest.approx(0, abs=1e-5)  # there are no more than three


def test_images_that_are_all_the_same_have_no_variance():
    same = torch.full((4, 1, 2, 2), 0.5)
    assert pca_left(same, same, 3) == (0.0, 0.0)
