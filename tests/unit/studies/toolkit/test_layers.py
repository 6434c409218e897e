"""Networks with shuffled layers."""

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.studies.toolkit.layers import reordered


def test_shuffled_layers_keep_their_singular_values():
    model = cf.MLP((1, 4, 4), hidden=[12], latent_dim=6)
    other = reordered(model, Generator().manual_seed(0))
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    matrices = [(a, b) for a, b in pairs if a.dim() > 1]
    for a, b in matrices:
        torch.testing.assert_close(torch.linalg.svdvals(a), torch.linalg.svdvals(b))
    assert [torch.equal(a, b) for a, b in matrices] == [True, False, False, False]
    x = torch.rand(2, 1, 4, 4)
    assert not torch.allclose(model(x), other(x))


@pytest.mark.parametrize(
    "model",
    [
        cf.CNN((1, 8, 8), 3, (4, 8)),
        cf.ViT((1, 8, 8), 3, 4, 8, 2, 2, 16),
        cf.UNet((1, 8, 8), width=4, depth=1, skips="self"),
    ],
)
def test_every_architecture_of_the_study_can_be_shuffled(model):
    before = [p.clone() for p in model.parameters()]
    other = reordered(model, Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    changed = [
        name
        for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    wide = [name for name, p in model.named_parameters() if p.dim() > 1 and "positions" not in name]
    assert changed == wide[1:]
