"""Known numbers of free dimensions."""

import torch
from torch import Generator, nn

from copyfold.claims.representation.freedom_grows import FreedomGrows, chain, freedom, product, undone
from copyfold.studies.base import Verdict


def rng():
    return Generator().manual_seed(0)


def layer(weight, bias=0.0):
    made = nn.Linear(weight.shape[1], weight.shape[0]).double()
    made.weight.data, made.bias.data = weight.double(), torch.full((len(weight),), bias).double()
    return made


def test_a_chain_is_as_free_as_its_narrowest_layer():
    assert freedom(chain((20, 15, 9, 12), 0), False, rng())[:, 0].tolist() == [5, 11, 11]
    assert freedom([layer(torch.eye(6)), layer(torch.eye(6)[:2])], False, rng())[:, 0].tolist() == [0, 4]


def test_a_relu_that_is_off_leaves_every_direction_free():
    assert (freedom([layer(torch.eye(6), -100.0)], True, rng()) == 6).all()
    assert (freedom([layer(torch.eye(6), 100.0)], True, rng()) == 0).all()


def test_a_chain_is_the_same_for_the_same_seed():
    first, again, other = (chain((4, 3), seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_essay_s_product_gives_impossible_dimensions():
    assert product((20, 15, 9, 4)) == [5, 30, 150]
    assert product((20, 10, 10)) == [10, 0]


def test_square_layers_are_inverted():
    numbers = undone([layer(2 * torch.eye(8)), layer(0.05 * torch.eye(8), 1.0)], rng())
    assert numbers["error of the exact inverse, square"].max() < 1e-12
    moved = numbers["moved by noise in the output, square"]
    assert 0.001 < moved.mean() < 0.1  # a hundredth, as the layers shrink by ten


def test_the_formula_of_the_essay_fails_where_freedom_grows(three_seeds):
    study = FreedomGrows()
    numbers = study.measure(three_seeds).numbers
    assert study.verdict(numbers) is Verdict.DOES_NOT_HOLD
    assert numbers["right formula off, narrowing"].value == 0
    assert numbers["free, narrowing, linear"].value == 256 - 64
