"""A plan that fits the machine: chosen by what steps take, which is measured, and given here."""

import logging
from functools import partial

import pytest
import torch

import copyfold as cf
from copyfold.data import scenes
from copyfold.data.photos import natural_size
from copyfold.training import suggestion as module
from copyfold.training.plan import Plan
from copyfold.training.stopping import Clock
from copyfold.training.suggestion import Rung, climbed, rungs, step_time, suggestion, unhindered


@pytest.fixture
def tried(monkeypatch) -> list[Rung]:
    """A machine on which a step takes a microsecond a pixel and unit of width; and what was tried on it."""
    found: list[Rung] = []

    def step_time(model, objective, plan, steps):
        objective.check(model)
        core = getattr(model, "core", model)
        found.append(Rung(core.shape[1], core.width, core.depth))
        return 1e-6 * core.shape[1] * core.shape[2] * core.width

    monkeypatch.setattr(module, "step_time", step_time)
    return found


def test_networks_are_tried_from_the_cheapest_on_and_keep_a_waist_of_eight_pixels():
    found = rungs(cf.UNet, largest=(200, 200))
    assert found[0] == Rung(32, 8, 2)
    costs = [size * size * width for size, width, _ in found]
    assert costs == sorted(costs)
    assert len(set(found)) == len(found) > 5
    assert all(size // 2**depth >= 8 for size, _, depth in found)
    assert {size for size, _, _ in found} == {32, 48, 64, 96, 128}


def test_images_are_never_enlarged_and_what_is_named_stays():
    assert {rung.size for rung in rungs(cf.UNet, largest=(50, 50))} == {32, 48}
    assert {(rung.size, rung.depth) for rung in rungs(cf.UNet, largest=(30, 30))} == {(30, 1)}
    assert len(rungs(cf.UNet, largest=(30, 30))) == 4  # widths
    assert {rung.size for rung in rungs(cf.UNet, largest=(500, 500), size=(40, 40))} == {40}
    named = partial(cf.UNet, width=5, depth=1)
    assert {rung[1:] for rung in rungs(named, largest=(500, 500))} == {(5, 1)}
    assert {rung.depth for rung in rungs(partial(Flat, width=3), largest=(64, 64))} == {None}


def test_rectangles_keep_their_aspect_ratio_and_their_short_side_has_the_waist():
    found = rungs(cf.UNet, largest=(38, 128))
    assert {rung.size for rung in found} == {(10, 32), (14, 48), (19, 64), (28, 96), (38, 128)}
    assert [rung.depth for rung in found if rung.size == (38, 128)] == [2, 2]
    assert {rung.size for rung in rungs(cf.UNet, largest=(13, 22))} == {(13, 22)}
    assert {rung.size for rung in rungs(cf.UNet, largest=(38, 128), size=(20, 30))} == {(20, 30)}


class Flat(cf.Linear):
    """An architecture with a width and no depth."""

    def __init__(self, shape: tuple[int, int, int], width: int = 4) -> None:
        super().__init__(shape, width)


def test_the_last_network_that_enough_steps_fit_of_is_chosen():
    ladder = [Rung(size, 8, 2) for size in (32, 48, 64, 96)]
    asked = []

    def seconds(rung: Rung) -> float:
        asked.append(rung.size)
        return {32: 0.01, 48: 0.02, 64: 0.5, 96: 0.001}[rung.size]

    # .9 of 60 s are 2,700 steps of the second, and 108 of the third; 50 * 8 are needed
    assert climbed(ladder, seconds, minutes=1) == ladder[1]
    assert asked == [32, 48, 64]  # and a dearer one is not tried
    assert climbed(ladder, lambda _: 9.0, 1) == ladder[0]  # nothing fits: the cheapest
    assert climbed(ladder, lambda _: 1e-6, 1) == ladder[-1]
    widths = [Rung(32, width, 2) for width in (8, 16, 32)]
    assert climbed(widths, lambda _: 0.05, 1) == widths[1]  # 1,080 steps of each
    assert climbed(ladder, seconds, 1, steps=100) == ladder[-1]


def test_what_does_not_fit_into_memory_is_not_chosen():
    def seconds(rung: Rung) -> float:
        if rung.size == 64:
            raise torch.OutOfMemoryError
        return 1e-6

    assert climbed([Rung(32, 8, 2), Rung(64, 8, 3), Rung(96, 8, 3)], seconds, 1, 800) == Rung(32, 8, 2)
    with pytest.raises(torch.OutOfMemoryError):
        climbed([Rung(64, 8, 3)], seconds, 1, 800)


def test_one_thread_is_taken_where_several_wait_for_each_other_on_busy_cores(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan = Plan(minutes=3)
    busy = unhindered(plan, lambda plan: 0.04 if plan.threads == 1 else 0.7)
    assert busy.threads == 1
    assert unhindered(plan, lambda plan: 0.04 if plan.threads == 1 else 0.08) is plan  # a small network
    assert unhindered(Plan(threads=2), lambda plan: 0.04 if plan.threads == 1 else 0.7).threads == 2  # as named
    found = suggestion(cf.UNet, Rung(32, 8, 2), 0.04, busy, hindered=True)
    assert found.plan["threads"] == 1
    assert "threads=1" in found.why[-1]


def test_a_suggestion_says_how_many_steps_and_why():
    found = suggestion(cf.UNet, Rung(48, 16, 2), 0.1777, Plan(minutes=3))
    assert found.plan == {"steps": 910, "minutes": 3, "batch": 16}  # .9 x 180 s / .1777 s
    assert found.why == (
        "3 minutes are about 910 steps of a UNet of width 16 and depth 2 at 48 pixels here, 178 ms each",
    )
    assert suggestion(cf.UNet, Rung(96, 32, 3), 2.01, Plan(minutes=60)).why[0].endswith("pixels here, 2 s each")
    found_one = suggestion(cf.AttentionUNet, Rung(32, 8, 2), 0.9, Plan(minutes=0.001))
    assert found_one.why[0].startswith("0.001 minutes are about 1 step of an AttentionUNet of width 8 and")
    assert found_one.why[1].startswith("1 step is too few to learn to copy: ")
    net = found.model((1, 48, 48))
    assert (net.shape, net.width, net.depth) == ((1, 48, 48), 16, 2)


def test_the_plan_of_a_suggestion_has_what_was_named_so_that_what_is_trained_is_what_was_measured():
    plan = Plan(minutes=3, batch=8, optimizer=cf.Adam(), precision="32", threads=2)
    found = suggestion(cf.UNet, Rung(32, 8, 2), 0.1, plan).plan
    named = {"optimizer": cf.Adam(), "precision": "32", "threads": 2}
    assert found == {"steps": 1600, "minutes": 3, "batch": 8, **named}


def test_too_few_steps_are_warned_of_with_the_minutes_that_would_do():
    _, warned = suggestion(cf.UNet, Rung(32, 8, 2), 1.0, Plan(minutes=1)).why
    assert "54 steps are too few to learn to copy: give minutes=5.6" in warned
    assert len(suggestion(cf.UNet, Rung(32, 8, 2), 1.0, Plan(minutes=5.6)).why) == 1


def test_steps_that_are_named_stay_and_are_warned_of_where_the_minutes_do_not_do():
    found = suggestion(cf.UNet, Rung(32, 8, 2), 0.6, Plan(minutes=3, steps=1000))
    assert found.steps == 1000
    assert "1,000 steps of a UNet of width 8 and depth 2 at 32 pixels take about 10 minutes here" in found.why[0]
    assert "more than the 3 minutes" in found.why[1]
    assert len(suggestion(cf.UNet, Rung(32, 8, 2), 0.6, Plan(minutes=9.5, steps=1000)).why) == 1


def test_suggest_looks_up_the_size_of_a_source_and_takes_that_of_photos(tried):
    array = scenes(4, 70)
    found = cf.suggest(array, minutes=3)
    assert (found.size, found.width, found.depth) == (64, 16, 3)  # 64 * 64 * 16 us * 800 are 52 s
    assert tried[-1] == Rung(64, 16, 3)
    assert cf.suggest(cf.Photos(array, 20), minutes=3).size == 20
    assert cf.suggest(array, minutes=5).width == 32  # twice as long each, and twice as many: 210 s
    assert cf.suggest(array, minutes=0.5).size == 32
    wide = scenes(4, 64)[:, :30]
    found = cf.suggest(wide, minutes=3)
    assert (found.size, found.width, found.depth) == ((30, 64), 32, 1)
    assert "at 30x64 pixels" in found.why[0]
    assert found.model((3, 30, 64)).shape == (3, 30, 64)
    assert cf.suggest(cf.Photos(wide, (10, 20)), minutes=3).size == (10, 20)


def test_a_model_within_a_model_is_measured_with_its_objective(tried):
    wrapped = partial(cf.Variational, latent_dim=3)
    objective = cf.Classical(penalties=(cf.Divergence(),))  # which refuses a core without a posterior
    found = module.measured_plan(partial(cf.UNet, width=4), objective, Plan(minutes=1), (16, 16), 1, wrap=wrapped)
    assert found is not None
    net = found.model((1, 16, 16))
    assert isinstance(net, cf.Variational)
    assert net.core.width == 4


def test_suggest_changes_no_random_number_that_is_drawn_after_it(tried):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    cf.suggest(scenes(4, 16), minutes=1)
    assert torch.equal(torch.rand(3), expected)


def test_suggest_refuses_what_it_cannot_size():
    with pytest.raises(cf.UsageError, match="Linear has no width"):
        cf.suggest(scenes(4, 16), 1, cf.Linear)
    with pytest.raises(cf.UsageError, match=r"no argument 'bach'.*batch"):
        cf.suggest(scenes(4, 16), 1, bach=3)
    with pytest.raises(cf.UsageError, match="takes no size that was tried"):
        cf.suggest(cf.Photos(scenes(4, 20), 20), 1, partial(cf.UNet, depth=8))


def test_a_step_is_measured_as_it_is_trained(monkeypatch):
    """With the objective, and no longer than its share of the minutes."""
    counted = []
    real = module.one_step
    monkeypatch.setattr(module, "one_step", lambda *given: counted.append(given) or real(*given))
    net = cf.UNet((1, 16, 16), width=2, depth=1)
    plan = Plan(minutes=60, batch=4, precision="32")
    assert step_time(net, cf.Classical(cf.Gaussian(0.1)), plan, 3) > 0
    assert len(counted) == module.UNCOUNTED + 3
    assert counted[0][3].shape == (4, 1, 16, 16)
    step_time(net, cf.Classical(), Plan(minutes=1e-9, batch=4, precision="32"), 3)
    assert len(counted) == module.UNCOUNTED + 4


def test_the_side_of_images_is_known_without_decoding_them():
    assert natural_size(scenes(4, 24)) == (24, 24)
    assert natural_size(scenes(1, 200)) == (128, 128)
    assert natural_size(scenes(2, 200)[:, :50]) == (32, 128)
    assert natural_size(None) == (32, 32)  # the digits, enlarged


# ---------------------------------------------------------------- a plan of steps that the clock guards


def test_the_clock_guards_a_plan_of_steps_and_leads_its_schedule_only_where_it_is_late():
    assert Plan(minutes=2).limit == 2
    assert Plan(minutes=2, steps=100).limit == pytest.approx(2.3)
    assert Plan(steps=100).limit is None
    plan = Plan(minutes=2, steps=100)  # which ends at 2.3 minutes, 138 seconds
    assert Clock(2.3, before=60).done(25, plan, length=4) == 0.25
    assert Clock(2.3, before=100).done(90, plan, length=4) == 0.9
    assert Clock(2.3, before=100).done(25, plan, length=4) == pytest.approx(100 / 138, abs=1e-3)


def test_a_training_past_its_guard_stops_and_says_so(tmp_path, caplog):
    photos = cf.Photos(scenes(40, 8), 8)
    net = cf.MLP(photos.shape, hidden=(4,), latent_dim=2)
    with caplog.at_level(logging.WARNING, "copyfold"):  # which Python shows without being asked
        run = cf.fit(net, None, photos, tmp_path / "r", steps=10**6, minutes=1e-4, precision="32")
    assert 0 < run.history[-1]["step"] < 10**6
    assert torch.load(run.checkpoint, weights_only=True)["seconds"] >= 1.15 * 0.006
    assert "of 1,000,000: 1.15 times the 0.0001 minutes are over" in caplog.text
    assert "it has not yet learned to copy" in caplog.text
    assert "go on with resume=True and more minutes" in caplog.text
