"""The limit of gradient descent on a layer."""

import torch
from torch import Generator, nn

from copyfold.studies.toolkit.random_layers import represented


def images(count=8, side=16, channels=1):
    return torch.rand(count, channels, side, side, generator=Generator().manual_seed(1))


def test_descent_matches_the_layer_and_keeps_the_rest_of_the_start():
    layer, x = nn.Linear(256, 100), images()
    start = torch.full_like(x, 0.7)
    found = represented(layer.weight, x, start)
    torch.testing.assert_close(layer(found.flatten(1)), layer(x.flatten(1)), rtol=0, atol=1e-5)
    null = torch.linalg.svd(layer.weight.detach()).Vh[100:]
    torch.testing.assert_close(found.flatten(1) @ null.T, start.flatten(1) @ null.T, rtol=0, atol=1e-4)


def test_an_invertible_layer_recovers_the_image():
    x = images()
    torch.testing.assert_close(represented(torch.eye(256), x, torch.zeros_like(x)), x)
