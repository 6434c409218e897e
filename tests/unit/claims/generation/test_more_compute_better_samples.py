"""T18 where compute pays, and where it does not."""

import pytest

import copyfold as cf
from copyfold.claims.generation.more_compute_better_samples import MoreComputeBetterSamples, petaflops
from copyfold.studies.base import Verdict
from labs import outcome


@pytest.mark.parametrize(("better", "verdict"), [(True, Verdict.HOLDS), (False, Verdict.DOES_NOT_HOLD)])
def test_useful_and_useless_compute_decide_the_verdict(shelf, monkeypatch, better, verdict):
    levels = [0.6, 0.3, 0.0] if better else [0.0, 0.3, 0.6]
    painters = [shelf.painter(level) for level in levels]

    def pick(make, photos):
        return painters[(make.keywords.get("width") == shelf.budget.width) + (make.keywords["depth"] == 3)]

    monkeypatch.setattr(shelf, "pick", pick)
    whole, lengths, whole_trainings = shelf.trained, [], {}

    def trained(make, photos, seed, steps=None, **plan):
        """Shorter trainings leave a worse network, or a better one."""
        if steps is None:  # of the judge
            return whole(make, photos, seed, **plan)
        if steps >= shelf.budget.steps:
            whole_trainings[make.keywords["width"], make.keywords["depth"]] = steps / shelf.budget.steps
            return whole(make, photos, seed, **plan)
        assert plan["schedule"] == "cosine"  # of its own
        lengths.append(steps)
        return painters[len(lengths) % 2 == 0]

    monkeypatch.setattr(shelf, "trained", trained)
    found, _, numbers = outcome(MoreComputeBetterSamples(), shelf)
    assert found is verdict
    assert whole_trainings == {(2, 2): 1, (4, 2): 1, (2, 3): 2, (4, 3): 1}  # a deeper network learns more slowly
    ratio = numbers["patch distance wide and deep over narrow"].value
    assert (ratio < numbers["patch distance wide over narrow"].value) == better
    sharp = [numbers[f"sharpness, {name}"].value for name in ("as sharp as narrow", "real")]
    assert sharp[0] == pytest.approx(sharp[1], rel=0.1)  # as they are, as the samples are no blurrier


def test_petaflops_of_a_linear_network():
    """Forward 2 x 64 x 4 each way, three times that a step, 16 images, 1,000 steps."""
    model = cf.Linear((1, 8, 8), latent_dim=4)
    assert petaflops(model, 1000) == pytest.approx(3 * 2 * 2 * 64 * 4 * 16 * 1000 / 1e15)
