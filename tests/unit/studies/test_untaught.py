"""Studies of unasked denoising, on networks whose answers are known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from copyfold.claims.denoising import better_than_linear as untaught_fairly
from copyfold.claims.denoising import skips_teach_the_identity as untaught
from copyfold.claims.denoising import training_cleans_representation as untaught_representation
from copyfold.corruptions import Blur, Mix
from copyfold.measures import distance, mse
from copyfold.models.adoption import adopt
from copyfold.models.dense import MLP, Linear
from copyfold.models.unet import UNet
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import unet

SHAPE = (1, 16, 16)


class Fixed(nn.Module):
    """A function of images that learns nothing."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def fixed(function):
    return adopt(Fixed(function), SHAPE, encode="forward", decode=lambda z: z)


def blocks(x):
    """The projection on images that are constant over 2 x 2 pixels."""
    return nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


COPY, BLOCKS, BLUR = fixed(lambda x: x), fixed(blocks), fixed(Blur(5, 1.0))
DIMMED = fixed(lambda x: 0.85 * x)  # nearer to the digits than either noisy image, as those are too bright
GREY = fixed(lambda x: torch.full_like(x, 0.5) + 0 * x)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Enough steps of inversion for networks as simple as these; `given` says what comes of training."""

    def prepared(given, untrained=None):
        lab = Lab(replace(BUDGETS["tiny"], steps=500), cache=tmp_path / "models")
        monkeypatch.setattr(lab, "trained", lambda make, photos, seed, **plan: given(make(photos.shape)))
        if untrained is not None:
            monkeypatch.setattr(lab, "untrained", lambda make, photos, seed: untrained)
        return lab

    return prepared


def judged(study, lab):
    numbers = study.measure(lab).numbers
    return study.verdict(numbers), numbers


def test_a_copy_passes_all_noise_and_a_blur_does_not(lab):
    study = untaught.SmallModelsCopyNoise()
    verdict, numbers = judged(study, lab(lambda model: COPY))
    assert verdict == Verdict.HOLDS
    assert numbers["passed"].value == pytest.approx(1)
    assert numbers["error over doing nothing"].value == pytest.approx(1)
    assert numbers["copying error over noise"].value == 0
    verdict, numbers = judged(study, lab(lambda model: BLUR if model.depth == 1 else COPY))
    assert verdict != Verdict.HOLDS
    assert 0.1 < numbers["passed"].value < 0.4  # the middle of the window squared, and its neighbours' chance
    assert numbers["passed, width 4, depth 2"].value == pytest.approx(1)


def test_the_ladder_keeps_the_size_of_the_code():
    for name in ("tiny", "cpu", "gpu"):
        budget = BUDGETS[name]
        shape = (3, budget.side, budget.side)
        with torch.device("meta"):
            models = [make(shape) for make in untaught.ladder(Lab(budget)).values()]
        steps = [
            m for m in models if (m.width, m.depth) not in ((budget.width, 1), (models[0].width, budget.depth))
        ]
        assert steps[0].depth == 1
        assert (steps[-1].width, steps[-1].depth) == (budget.width, budget.depth)
        assert len({m.width * 2**m.depth // 4**m.depth for m in steps}) == 1
        sizes = [(m.width, m.depth) for m in models]
        assert len(set(sizes)) == len(sizes) == budget.depth + 2


@pytest.mark.parametrize(("network", "rest", "verdict"), [(DIMMED, COPY, "HOLDS"), (COPY, DIMMED, "FAILS")])
def test_the_better_denoiser_wins_whatever_it_is(lab, network, rest, verdict):
    found, _ = judged(untaught.UNetOverFullyConnected(), lab(lambda m: network if isinstance(m, UNet) else rest))
    assert found == verdict


@pytest.mark.parametrize(
    ("with_skips", "without", "verdict"),
    [(COPY, GREY, "HOLDS"), (COPY, COPY, "MIXED"), (GREY, GREY, "MIXED"), (GREY, COPY, "FAILS")],
)
def test_who_copies_is_told_from_who_does_not(lab, with_skips, without, verdict):
    def given(model):
        return with_skips if model.skips == "concat" else without

    found, numbers = judged(untaught.SkipsTeachTheIdentity(), lab(given))
    assert found == verdict
    exact = {name: numbers[f"{name} exact identity"].value for name in ("gap", "passed")}
    assert exact == pytest.approx({"gap": 0, "passed": 1})
    smaller = numbers["passed without skips, smaller images"].value
    assert smaller == pytest.approx(float(without is COPY), abs=1e-6)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("budget", ["cpu", "gpu"])
def test_equal_parameters_are_equal(budget, norm):
    lab = Lab(BUDGETS[budget])
    shape = (3, lab.budget.side, lab.budget.side)
    wanted = untaught.parameters(unet(lab), shape)
    assert untaught.parameters(untaught.with_parameters_of(unet(lab), norm), shape) == pytest.approx(
        wanted, rel=0.01
    )
    assert untaught.parameters(unet(lab), shape) == sum(p.numel() for p in unet(lab)(shape).parameters())


def test_the_mean_image_is_no_photograph_brought_back(lab, monkeypatch):
    it = lab(lambda model: COPY)
    photos = it.photos("landscapes")
    mean, x = untaught.mean_image(it, photos), it.images(photos)
    blank = fixed(lambda x: mean.expand_as(x))
    monkeypatch.setattr(it, "course", lambda make, photos, seed, steps: [COPY, COPY, COPY, blank])
    verdict, numbers = judged(untaught_fairly.MoreTrainingMoreNoise(), it)
    assert verdict == Verdict.UNDECIDED  # exactly as good as the mean image
    assert numbers["error over mean image"].value == pytest.approx(1)
    nothing = 0.49 * ((x - 0.7).square().mean() + 0.04)
    expected = mse(mean.expand_as(x), x).mean() / nothing
    assert numbers["error late over early"].value == pytest.approx(expected.item(), rel=0.05)


@pytest.fixture
def one_strength(monkeypatch):
    """Filters and denoisers take the time of these tests: only the noise that decides."""
    monkeypatch.setattr(untaught_fairly, "STRENGTHS", (0.2,))


def test_a_copy_is_no_match_for_a_filter(lab, one_strength):
    verdict, numbers = judged(untaught_fairly.BetterThanLinear(), lab(lambda model: COPY))
    assert verdict == Verdict.FAILS
    assert numbers["error over doing nothing, fully connected, gaussian 0.2"].value == pytest.approx(1)


def test_a_network_that_knows_the_photographs_beats_the_filter(lab, one_strength):
    it = lab(lambda model: GREY)
    x = it.images(it.photos("landscapes"))
    knows = fixed(lambda noisy: x if len(noisy) == len(x) else noisy)
    it.trained = lambda make, photos, seed, **plan: knows if isinstance(make(photos.shape), MLP) else GREY
    verdict, numbers = judged(untaught_fairly.BetterThanLinear(), it)
    assert verdict == Verdict.HOLDS
    assert numbers["error over linear filter gaussian"].value == 0


def random_layer():
    """One linear layer of new weights, to a sixteenth of the numbers."""
    torch.manual_seed(0)
    return Linear(SHAPE, 16).eval()


def test_a_representation_by_new_weights_is_noisier_than_by_a_copy(lab):
    study = untaught_representation.TrainingCleansRepresentation()
    verdict, numbers = judged(study, lab(lambda model: COPY, untrained=random_layer()))
    assert verdict == Verdict.HOLDS
    assert numbers["image distance, trained, lbfgs"].value == pytest.approx(0, abs=1e-3)
    assert numbers["way gone, trained, lbfgs"].value == pytest.approx(1, abs=1e-3)
    assert numbers["noise in the image itself, trained, lbfgs"].value == pytest.approx(
        numbers["noise, grey image"].value, abs=1e-3
    )  # grey has no texture, and the photograph has its own
    verdict, numbers = judged(study, lab(lambda model: random_layer(), untrained=COPY))
    assert verdict == Verdict.UNDECIDED  # an exact copy shows no noise at all, and a ratio to nothing says nothing
    assert numbers["image distance, untrained, lbfgs"].value == pytest.approx(0, abs=1e-3)


def test_a_copy_represents_all_the_noise(lab):
    study = untaught_representation.RepresentationLosesNoise()
    verdict, numbers = judged(study, lab(lambda model: COPY))
    assert verdict != Verdict.HOLDS
    for name in ("distance over corruption mix", "distance over corruption, identity, gaussian"):
        assert numbers[name].value == pytest.approx(1, abs=1e-3)
    assert numbers["distance over corruption, output, mix"].value == pytest.approx(1)


def test_a_projection_represents_the_noise_that_it_keeps(lab):
    it = lab(lambda model: BLOCKS)
    _, numbers = judged(untaught_representation.RepresentationLosesNoise(), it)
    x = untaught_representation.few(it, it.images(it.photos("landscapes")))
    noisy = Mix(0.5)(x, it.rng(0, "mix"))
    # what the projection does not see stays as it was at the start, which is grey: 0
    expected = distance(0.7 + blocks(noisy - 0.7), x).mean() / distance(noisy, x).mean()
    assert numbers["distance over corruption mix"].value == pytest.approx(expected.item(), abs=1e-3)
    output = distance(blocks(noisy), x).mean() / distance(noisy, x).mean()
    assert numbers["distance over corruption, output, mix"].value == pytest.approx(output.item(), abs=1e-3)


def test_a_waist_that_loses_something_is_told_from_one_that_does_not(lab):
    study = untaught_representation.HiddenModuleHidesInput()
    _, numbers = judged(study, lab(lambda model: BLOCKS if model.middle else BLUR))
    assert numbers["copying error over mean image, hidden"].value > 0
    verdict, numbers = judged(study, lab(lambda model: COPY if model.middle else BLOCKS))
    assert verdict != Verdict.HOLDS
    assert numbers["copying error over mean image"].value == 0
    assert numbers["error over doing nothing"].value == pytest.approx(1)
    assert numbers["image distance over plain"].value < 0.5


@pytest.mark.parametrize(("budget", "count"), [("tiny", 4), ("cpu", 8), ("gpu", 32)])
def test_few_images_are_taken_evenly(budget, count):
    lab = Lab(BUDGETS[budget])
    x = torch.arange(lab.budget.measured)
    taken = untaught_representation.few(lab, x)
    assert len(taken) == count
    assert len(taken.diff().unique()) == 1
    assert untaught_representation.at_most(lab, 500) <= 500
