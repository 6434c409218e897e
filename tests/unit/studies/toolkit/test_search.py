"""Known maps leave known shares of noise; a search that does not arrive has no answer."""

from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn

from copyfold.measures import distance
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Paused
from copyfold.studies.toolkit import search
from copyfold.studies.toolkit.copying import principal_part
from copyfold.studies.toolkit.random_layers import represented
from copyfold.studies.toolkit.search import ENOUGH, NEAR, REST, STARTS, UNSEEN, at_most, near_image, representation
from labs import SHAPE, blocks, fixed, random_part


def images(count=3):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def near(function, x=None, layer=""):
    return near_image(fixed(function), layer, images() if x is None else x, rng())


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], cache=tmp_path)


@pytest.fixture
def longer(tmp_path):
    return Lab(replace(BUDGETS["tiny"], steps=1000), cache=tmp_path)  # searches of 400 steps


def invert(lab, function, x, statistics="running"):
    return representation(lab, fixed(function), "", x, lab.rng(0, "noise"), statistics)


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_search_has_its_length(budget):
    assert at_most(Lab(BUDGETS[budget]), 500) <= 500


# Near the image


def test_the_noise_that_is_left_is_the_share_of_directions_that_a_linear_map_does_not_see(lab):
    x = images(16)
    pca = principal_part(lab, lab.photos("landscapes"), 40)
    shares = {"identity": lambda a: a, "random": random_part(), "blocks": blocks, "pca": pca}
    left = {name: near(function, x).numbers for name, function in shares.items()}
    assert all(numbers["answer"].all() for numbers in left.values())
    assert (left["identity"]["noise left"] < UNSEEN).all()
    for name, share in {"random": 3 / 4, "blocks": 3 / 4, "pca": 1 - 40 / 256}.items():
        assert left[name]["noise left"].median().item() == pytest.approx(share, abs=0.03)
        assert left[name]["noise left"].mean().item() == pytest.approx(share, abs=0.02)


def test_what_is_left_is_the_noise_in_directions_that_the_layer_does_not_see():
    """The projection of the noise itself onto them, to three tenths of the rest."""
    noise, part = torch.randn(images().shape, generator=rng()) / 18, random_part()
    away = near(part).images["found"] - images()
    assert (distance(away, noise - part(noise)) < NEAR * distance(part(noise), 0 * noise)).all()


def test_a_bent_map_with_a_known_null_space_leaves_its_share():
    """Nonlinear in what it sees, with slopes from 1 to 2.7: half of the pixels."""
    found = near(lambda a: a.exp() * torch.tensor((1.0, 0.0)).repeat(SHAPE[2] // 2), images(16))
    assert found.numbers["answer"].all()
    assert found.numbers["noise left"].median().item() == pytest.approx(0.5 * (1 + UNSEEN), abs=0.05)


def test_the_found_image_has_nearly_the_same_output_of_the_layer_itself():
    torch.manual_seed(1)
    size, x = prod(SHAPE), images(10)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size), nn.ReLU())
    found = near_image(layer, "", x, rng())
    noisy = x + torch.randn(x.shape, generator=rng()) / 18
    with torch.no_grad():
        left = distance(layer(found.images["found"]), layer(x)) / distance(layer(noisy), layer(x))
    torch.testing.assert_close(left, found.numbers["layer over reference"], rtol=1e-3, atol=1e-4)
    assert (left < NEAR).all()
    assert found.numbers["answer"].all()


def test_every_layer_has_the_same_noise():
    a, b = (near(function).numbers["reference"] for function in (lambda a: a, blocks))
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(a, torch.full_like(a, 1 / 18), rtol=0.15, atol=0)


def test_no_answer_where_nothing_is_seen_or_no_slope_leads_there():
    for blind in (lambda a: 0 * a, lambda a: (20 * a).round() + 0 * a):
        found = near(blind)
        assert not found.numbers["answer"].any()
        assert found.numbers["noise left"].isnan().all()


# Found from plain images


def test_a_search_that_arrives_stops_and_has_an_answer(longer):
    found = invert(longer, lambda a: a, images(5))
    assert found.numbers["answer"].tolist() == [1] * 5
    assert found.numbers["agree"].tolist() == [1] * 5
    assert (found.numbers["layer over reference"] < ENOUGH).all()
    assert found.numbers["steps"] < 200  # of 2 x 400
    assert (found.numbers["error"] < ENOUGH * 1.2 * found.numbers["reference"]).all()
    assert (found.numbers["psnr"] > 40).all()


def test_a_linear_layer_represents_as_little_as_descent_would_find_from_both_starts(longer):
    """Not the same image, as Adam scales each pixel's step by itself."""
    torch.manual_seed(1)  # that of the images would make their numbers the first weights
    layer, x = nn.Sequential(nn.Flatten(), nn.Linear(prod(SHAPE), prod(SHAPE) // 4)), images()
    found = representation(longer, layer, "", x, rng())
    middle = x.mean((1, 2, 3), keepdim=True).expand_as(x)
    assert found.numbers["answer"].all()
    for name, start in STARTS.items():
        exact = distance(represented(layer[1].weight, x, middle + start), x) / prod(SHAPE) ** 0.5
        torch.testing.assert_close(found.numbers[f"error from {name}"], exact, rtol=0.15, atol=0)


def test_l_bfgs_goes_on_where_adam_ends(longer, monkeypatch):
    """It ends short of a target that Adam alone does not reach in as many steps."""
    directions = torch.linalg.qr(torch.randn(prod(SHAPE), prod(SHAPE), generator=rng(3))).Q
    kept = search._searches

    def hard(a):
        return (a.flatten(1) @ directions * torch.logspace(0, -1.5, prod(SHAPE))).view_as(a)

    assert invert(longer, hard, images()).numbers["answer"].all()
    monkeypatch.setattr(search, "_searches", lambda *given: kept(*given).after)
    assert not invert(longer, hard, images()).numbers["answer"].any()


def test_a_search_that_does_not_arrive_has_no_answer_and_changes_no_other(longer):
    x = images()
    middle = x[1].mean()
    x[1] = middle + 0.02 * (x[1] - middle)  # nearly plain

    def apart(a):
        """What images that are not plain give is out of reach of plain ones."""
        plain = (a - a.mean((1, 2, 3), True)).abs().amax((1, 2, 3), True) < 0.05
        return torch.where(plain, a.clamp(0, 1), 10 + a.mean((1, 2, 3), True))

    found = invert(longer, apart, x)
    assert found.numbers["answer"].tolist() == [0, 1, 0]
    for name in ("error", "psnr", "noise"):
        assert found.numbers[name].isnan().tolist() == [True, False, True]
    alone = invert(longer, apart, x[1:2])
    assert alone.numbers["answer"].all()


def test_starts_that_disagree_are_counted_and_both_are_told(longer):
    """Two images have this output: the image, and its reflection at a light grey."""
    x = torch.full((1, *SHAPE), 0.5) + 0.01 * images(1)
    found = invert(longer, lambda a: (a - 0.6).square(), x).numbers
    assert found["answer"].tolist() == [1]
    assert found["agree"].tolist() == [0]
    light, dark = found["error from light"], found["error from dark"]
    assert light > 0.1 > 10 * dark
    torch.testing.assert_close(found["error"], (light + dark) / 2)


class Film:
    """A search whose images are given, step by step."""

    layer, statistics, after = "", "running", None

    def __init__(self, *frames):
        self.frames, self.steps = frames, len(frames)
        self.shown = 0

    def trace(self, model, x, rng, ended):
        for frame in self.frames:
            self.shown += 1
            left = torch.tensor(frame, dtype=torch.float32)
            yield left[:, None, None, None].expand_as(x).clone(), left


def searched(film, enough=0.1, lab=None, count=2):
    x = torch.zeros(count, 1, 1, 1)
    return search._searched(film, nn.Identity(), x, torch.ones(count), enough, lab)


def test_an_image_is_kept_at_its_first_step_below_the_tolerance():
    film = Film((0.5, 0.9), (0.05, 0.8), (0.5, 0.7), (0.01, 0.09), (0.0, 0.0))
    found, left, steps = searched(film)
    assert found.flatten().tolist() == pytest.approx([0.05, 0.09])
    assert left.tolist() == pytest.approx([0.05, 0.09])
    assert steps == film.shown == 4


def test_only_searches_far_away_are_at_rest():
    stuck = [(3.0, 0.5)] * (2 * REST + 50)
    _, left, steps = searched(Film(*stuck, (0.0, 0.0)))
    assert left.tolist() == [3.0, 0.0]  # the first had ended, and the second, near, had gone on
    assert steps == len(stuck) + 1
    _, _, alone = searched(Film(*[(3.0,)] * 1000), count=1)
    assert alone == 2 * REST


def test_a_search_that_goes_on_from_another_is_at_rest_only_in_its_own_steps():
    """Adam does not come nearer in 500 steps, L-BFGS at once; or neither does."""
    film = Film(*[(3.0,)] * 500, *[(2.0,)] * 150, (0.05,))
    film.after = Film(*[(3.0,)] * 500)
    assert searched(film, count=1)[1].item() == pytest.approx(0.05)
    film = Film(*[(3.0,)] * 1000)
    film.after = Film(*[(3.0,)] * 500)
    assert searched(film, count=1)[2] == 500 + REST


def test_a_search_is_paused_where_the_minutes_end(longer, monkeypatch):
    looks = iter([False, False, True])
    monkeypatch.setattr(Lab, "over", property(lambda self: next(looks)))
    film = Film(*[(0.5, 0.5)] * 10)
    with pytest.raises(Paused):
        searched(film, lab=longer)
    assert film.shown == 3


def test_images_that_share_statistics_are_searched_at_once_by_adam(longer, monkeypatch):
    made = []
    kept = search.Inversion

    def seen(*given, **named):
        made.append((given[2], given[1], len(named["first"])))
        return kept(*given, **named)

    monkeypatch.setattr(search, "Inversion", seen)
    monkeypatch.setattr(search, "at_most", lambda lab, steps: 4)
    monkeypatch.setattr(search, "GROUP", 8)
    invert(longer, blocks, images(10), "batch")
    assert made == [("adam", 4, 10)] * 2
    made.clear()
    invert(longer, blocks, images(10))
    assert made == [("adam", 2, 8), ("lbfgs", 2, 8), ("adam", 2, 2), ("lbfgs", 2, 2)] * 2
