"""Two halves where it is known what each denoiser has learned."""

from dataclasses import replace

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from copyfold.claims.denoising import two_halves
from copyfold.claims.denoising.two_halves import TwoHalves, compared, halves
from copyfold.data.sampling import as_images
from copyfold.errors import Diverged
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.notes import fashion
from labs import fixed


def test_unlikeness_is_0_for_one_function_and_about_1_for_outputs_with_nothing_in_common():
    a, b = (torch.randn(300, 1, 8, 8, generator=Generator().manual_seed(seed)) for seed in (0, 1))
    same, other = compared(a, a), compared(a, b)
    assert same["apart"].sum() == 0
    assert (other["apart"].sum() / other["spread"].sum()).item() == pytest.approx(1, abs=0.05)
    blank = compared(torch.full_like(a, 0.2), torch.full_like(a, 0.4))  # blank, and not the same
    assert (blank["apart"] / blank["spread"]).allclose(torch.tensor(2.0))


def test_halves_have_no_image_in_common_and_larger_ones_contain_smaller(lab):
    photos = fashion(lab)
    (a, b), (more, _) = (halves(photos, n, Generator().manual_seed(0)) for n in (10, 30))
    rows = [{image.tobytes() for image in part} for part in (a, b, more)]
    assert len(a) == len(b) == 10
    assert not rows[0] & rows[1]
    assert rows[0] < rows[2]


def restorer(lab, remembers):
    """In place of a denoiser: the best of the images that it knows, by their correlation with the input."""

    def made(lab, photos, pixels, seed):
        known = as_images(pixels).to(lab.device) if remembers(len(pixels)) else lab.images(photos)

        def function(y):
            a, b = (F.normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True)) for x in (y, known))
            tilt = 1e-3 * torch.randn(y.shape[1:], generator=Generator().manual_seed(seed))  # of the seed alone
            return known[(a @ b.T).argmax(1)] + tilt + 0 * y

        return fixed(function)

    return made


@pytest.mark.parametrize(
    ("remembers", "verdict"),
    [
        (lambda n: n <= 10, Verdict.HOLDS),  # few are remembered; with many it is a function of the input
        (lambda n: True, Verdict.DOES_NOT_HOLD),  # a memory at every size
        (lambda n: False, Verdict.DOES_NOT_HOLD),  # as alike with few: nothing falls
    ],
    ids=["few", "all", "none"],
)
def test_memories_are_told_from_a_function_of_the_input(tmp_path, monkeypatch, remembers, verdict):
    lab = Lab(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)
    monkeypatch.setattr(two_halves, "denoiser", restorer(lab, remembers))
    monkeypatch.setattr(two_halves, "steps", lambda lab, count: 10_000)
    found = TwoHalves().measure(lab)
    assert TwoHalves().verdict(found.numbers) is verdict
    memory = found.numbers["own half nearer, 10"].value
    assert memory == 1 if remembers(10) else memory < 0.9
    assert found.numbers["distance to own over other half, 10"].value < 1e-2 or not remembers(10)


def test_a_seed_that_diverged_with_one_size_is_left_out_with_all(tmp_path, monkeypatch):
    lab = Lab(replace(BUDGETS["tiny"], seeds=3), {}, tmp_path)
    made = restorer(lab, lambda n: n <= 10)

    def diverging(lab, photos, pixels, seed):
        if (len(pixels), seed) == (10, 1):
            raise Diverged("too far")
        return made(lab, photos, pixels, seed)

    monkeypatch.setattr(two_halves, "denoiser", diverging)
    numbers = TwoHalves().measure(lab).numbers
    assert len(numbers["unlikeness many over few"].seeds) == 2 == len(numbers["halves over seeds many"].seeds)
    assert any("halves of 10 lacks 1" in note for note in lab.notes)


def test_two_blanks_are_alike_and_decide_nothing(tmp_path, monkeypatch):
    """Outputs that fall to grey with more images: as alike as can be, and no denoiser."""

    def fading(lab, photos, pixels, seed):
        known, many = as_images(pixels).to(lab.device), len(pixels) > 10
        return fixed(lambda y: (0.5 + 1e-3 * y if many else known[torch.arange(len(y)) % len(known)]) + 0 * y)

    monkeypatch.setattr(two_halves, "denoiser", fading)
    numbers = TwoHalves().measure(Lab(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)).numbers
    assert numbers["unlikeness many over few"].high < 0.5
    assert numbers["error over linear filter many"].low > 1
    assert TwoHalves().verdict(numbers) is not Verdict.HOLDS


def test_denoisers_are_trained_on_their_half_alone(lab):
    photos = fashion(lab)
    a, b = halves(photos, 10, lab.rng(0, "halves"))
    first, other, again = (two_halves.denoiser(lab, photos, part, 0) for part in (a, b, a))
    x = lab.images(photos)
    with torch.no_grad():
        assert torch.equal(first(x), again(x))
        assert not torch.equal(first(x), other(x))
    assert lab.spent > 0


def test_a_half_that_was_hardly_seen_decides_nothing(tmp_path, monkeypatch):
    """Alike as seeds are, where nothing could be remembered: the passes veto."""
    lab = Lab(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)
    monkeypatch.setattr(two_halves, "denoiser", restorer(lab, lambda n: n <= 10))
    monkeypatch.setattr(two_halves, "steps", lambda lab, count: 1)
    numbers = TwoHalves().measure(lab).numbers
    assert numbers["passes over the largest half"].value < 8
    assert TwoHalves().verdict(numbers) is Verdict.UNDECIDED


def test_every_half_is_seen_often_enough_at_the_cpu_budget(tmp_path):
    """The largest as often as the control asks, others more often."""
    lab = Lab(BUDGETS["cpu"], {}, tmp_path)
    passes = {n: two_halves.steps(lab, n) * min(two_halves.BATCH, n) / n for n in two_halves.SIZES}
    assert passes == {10: 1500, 100: 640, 1000: 80, 20_000: two_halves.PASSES}
