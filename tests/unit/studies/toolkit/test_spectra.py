"""Singular values, ranks and condition numbers of known matrices."""

import pytest
import torch

from copyfold.models.dense import Linear
from copyfold.studies.toolkit.spectra import full_rank, log_condition, spectrum


def test_the_spectrum_is_that_of_the_matrix():
    model = Linear((1, 4, 4), latent_dim=9)
    whole = model.decoder[0].weight.double() @ model.encoder[1].weight.double()
    s = spectrum(model, torch.rand(3, 1, 4, 4))
    assert s.dtype == torch.float64
    assert s.allclose(torch.linalg.svdvals(whole).expand(3, 16))
    assert next(model.parameters()).dtype == torch.float32


def test_ranks_and_condition_numbers_are_known():
    s = torch.tensor([[1.0, 0.1, 1e-3], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    assert full_rank(s).tolist() == [1, 0, 1]
    assert log_condition(s).tolist() == pytest.approx([3, 15.65, 0], abs=0.01)
