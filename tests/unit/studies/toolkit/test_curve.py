"""The curve of copying and denoising: numbers of known maps, readings that are kept, and crossings."""

from dataclasses import replace
from math import prod

import pytest
import torch

from copyfold.measures import mse, sharpness
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Paused
from copyfold.studies.toolkit import copiers, curve, looks, rivals
from copyfold.studies.toolkit.copiers import D1, D2, D3, END, FULLY, HALF, SKIPS_2, TWICE, UNTRAINED
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.looks import BY_16, BY_64, RUNNING
from labs import COPY, GREY, Curve, fixed


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], cache=tmp_path / "models")


@pytest.fixture
def known(lab, monkeypatch):
    return Curve(lab, monkeypatch)


def everything(what):
    return True


def test_a_look_measures_what_passes_and_what_is_left(known):
    known.nets = {"": [(0.2, known.dulled(0.4)), (0.001, COPY)]}
    numbers = copiers.reading(known.lab, D2, 0).numbers
    means = {what: value.double().mean().item() for what, value in numbers.items()}
    for way in (RUNNING, BY_64, BY_16):
        for noise in ("gaussian 0.1", "gaussian 0.2", "mix"):
            assert means[f"0.2: passed, {noise}, {way}"] == pytest.approx(0.6, rel=1e-4)
            assert means[f"end: passed, {noise}, {way}"] == pytest.approx(1, rel=1e-4)
            assert means[f"end: error, {noise}, {way}"] == pytest.approx(means[f"beside: nothing, {noise}"])
        assert means[f"end: copy, {way}"] == 0
    for noise in looks.HEAVY:
        assert means[f"end: error, {noise}, {BY_64}"] == pytest.approx(means[f"beside: nothing, {noise}"])
    for way in (RUNNING, BY_64, BY_16):
        assert means[f"0.2: copy, {way}"] == pytest.approx(0.16 * means["beside: mean image"], rel=1e-4)
    assert "0.3: copy, running statistics" in means  # the look that leaves 0.2 is the first to leave 0.3
    assert means["0.1: sharpness"] == pytest.approx(means["beside: sharpness"])  # and COPY is for all the rest
    dulled = sharpness(known.dulled(0.4)(known.x)).mean().item()
    assert means["0.2: sharpness"] == pytest.approx(dulled, rel=1e-4)


def test_pca_of_equal_error_copies_as_well_and_passes_its_share(known):
    known.nets = {"": [(0.05, known.dulled(0.2))]}
    numbers = copiers.reading(known.lab, D2, 0).numbers
    copy, rival = numbers[f"end: copy, {RUNNING}"].mean(), numbers["end: pca, copy"].mean()
    assert 0.8 * copy < rival <= copy
    share = numbers["end: components"].item() / prod(known.photos.shape)
    assert numbers["end: pca, passed, gaussian 0.2"].mean().item() == pytest.approx(share, rel=0.1)
    grid = [numbers[f"beside: pca, passed at {bound:g}"].item() for bound in looks.LEFTS]
    assert grid == sorted(grid)


def test_the_linear_filter_is_the_best_of_four(known, monkeypatch):
    numbers = copiers.reading(known.lab, D2, 0).numbers
    for noise in looks.NOISES:
        assert numbers[f"beside: linear, error, {noise}"].mean() < numbers[f"beside: nothing, {noise}"].mean()
    monkeypatch.setattr(rivals, "linear_filter", lambda noisy, clean, x, side: known.x.repeat(2, 1, 1, 1))
    perfect = rivals._computed(known.lab, known.photos, 0).numbers
    assert perfect["beside: linear, error, mix"].mean() == 0


def test_the_wiener_filter_undoes_brightness_and_is_the_mean_without_variance(lab):
    photos = copiers.photographs(lab)
    of = rivals._components(lab, photos)
    x = lab.images(photos)
    for noise in (looks.NOISES["gaussian 0.2"], looks.NOISES["mix"]):
        noisy = noise(x, lab.rng(0))
        error = mse(rivals._wiener(of, noise, noisy), x).mean()
        assert error < 0.5 * 0.04  # a mix that keeps a half is noise of std 0.2, once brightness is undone
    flat = replace(of, variances=torch.zeros_like(of.variances))
    assert torch.allclose(rivals._wiener(flat, noise, noisy), of.mean.view_as(x[:1]).expand_as(x), atol=1e-5)


def test_the_identity_and_noise_alone(known):
    noisy = looks.noisy_images(known.lab, known.photos, 0)
    centre, mixed = noisy["mix"]
    assert torch.allclose(centre, 0.5 * known.x + 0.35)
    assert (mixed - centre).std().item() == pytest.approx(0.1, rel=0.05)
    blank, _ = looks.measured(GREY, known.x, noisy, [RUNNING])
    assert blank[f"passed, mix, {RUNNING}"].abs().max() < 1e-6
    brighter = fixed(lambda y: 2 * y - 0.7)  # undoes the mix: its noise comes out twice as strong
    assert looks.measured(brighter, known.x, noisy, [RUNNING])[0][
        f"passed, mix, {RUNNING}"
    ].mean() == pytest.approx(2)


def test_readings_are_kept_and_shared(lab, monkeypatch):
    known = Curve(lab, monkeypatch)
    first = copiers.reading(lab, D2, 0)
    monkeypatch.setattr(copiers, "on_the_way", lambda *_, **__: pytest.fail("trained again"))
    other = Lab(lab.budget, cache=lab.cache)
    again = copiers.reading(other, D2, 0)
    assert again.numbers.keys() == first.numbers.keys()
    assert all(value.equal(again.numbers[what]) for what, value in first.numbers.items())
    assert all(x.equal(again.images[what]) for what, x in first.images.items())
    assert known.x.shape[1:] == known.photos.shape


def test_a_training_is_looked_at_from_untrained_to_its_end(lab):
    numbers = copiers.reading(lab, SKIPS_2, 0).numbers
    spent = lab.spent
    assert spent > 0
    assert numbers[f"end: copy, {RUNNING}"].mean() < numbers[f"untrained: copy, {RUNNING}"].mean()
    other = Lab(lab.budget, cache=lab.cache)
    curve.read_off(other, 0, {"a": (SKIPS_2, END), "b": (SKIPS_2, "0.3")}, everything, [SKIPS_2])
    assert other.spent == pytest.approx(spent)  # as long as its training took, whenever


def test_no_network_is_begun_when_the_minutes_are_over(lab, monkeypatch):
    Curve(lab, monkeypatch)
    whole = copiers.reading(lab, D1, 0)
    over = Lab(lab.budget, cache=lab.cache, minutes=0)
    assert copiers.reading(over, D1, 0).numbers.keys() == whole.numbers.keys()
    with pytest.raises(Paused):
        copiers.reading(over, D3, 0)


def test_a_quality_that_was_not_reached_is_replaced_by_the_end(known):
    known.nets = {"": [(0.2, known.dulled(0.4))]}
    asked = {"reached": (D2, "0.3"), "not reached": (D2, "0.01"), "untrained": (D2, UNTRAINED)}
    found = curve.read_off(known.lab, 0, asked, everything)
    assert found.numbers[f"not reached: copy, {RUNNING}"].equal(found.numbers[f"reached: copy, {RUNNING}"])
    assert [note.partition(":")[0] for note in curve.missed([found], asked)] == ["not reached"]
    copying = qualities([found])
    assert copying.keys() == asked.keys()
    assert copying["not reached"].left["held out"].value == pytest.approx(0.16, rel=1e-4)
    assert not [
        what for what in curve.read_off(known.lab, 0, asked, lambda what: False).numbers if "copy," in what
    ]


def test_only_looks_that_all_seeds_reached_are_on_the_curve(known):
    known.nets = {"": [(0.2, known.dulled(0.4))]}
    worse = curve.read_off(known.lab, 0, {}, everything, [D2])
    known.nets = {"": [(0.2, known.dulled(0.4)), (0.05, known.dulled(0.2))]}
    better = curve.read_off(known.lab, 1, {}, everything, [D2])
    assert curve.places([better], D2) == ["0.3", "0.2", "0.1", "0.05", END]
    assert curve.places([worse, better], D2) == ["0.3", "0.2", END]
    assert curve.left([worse], D2, END) == pytest.approx(0.16, rel=1e-4)


def test_the_eight_networks_and_their_trainings():
    of = copiers.configurations(Lab(BUDGETS["cpu"]))
    shape = (3, 32, 32)
    with torch.device("meta"):
        codes = {name: sum(map(prod, one.make(shape).code_shapes())) / prod(shape) for name, one in of.items()}
    assert len(of) == 8
    assert codes[FULLY] == pytest.approx(1 / 3)
    assert [round(codes[name], 1) for name in (D1, D2, D3, HALF, TWICE)] == [5.3, 2.7, 1.3, 1.3, 5.3]
