"""The memory that attention keeps for the gradient, by the number of positions."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.claims.attention.attention_cost import kept


@pytest.mark.parametrize("kind", ["softmax", "elu"])
def test_linear_attention_keeps_four_times_as_much_for_four_times_the_positions(kind):
    cpu = torch.device("cpu")
    assert kept(kind, 32, cpu) / kept(kind, 16, cpu) < 4.1


def test_the_dot_product_keeps_all_pairs_where_it_is_written_out():
    small, large = (kept("dot", side, torch.device("meta"), sdpa_kernel(SDPBackend.MATH)) for side in (16, 32))
    assert large > 4 * 32**4  # heads and pairs
    assert large / small > 10
    assert kept("dot", 32, torch.device("cpu")) < 32**4


def test_without_addresses_a_tensor_is_still_counted_once():
    sizes = {kept("dot", 16, torch.device(d), sdpa_kernel(SDPBackend.MATH)) for d in ("cpu", "meta")}
    assert len(sizes) == 1
