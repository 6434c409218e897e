"""The probe Eigenbasis, against dense Jacobians in float64."""

import pytest
import torch

import copyfold as cf


@pytest.fixture
def x():
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def unet(bias):
    torch.manual_seed(0)
    return (
        cf.UNet((1, 8, 8), width=4, depth=1, skips="concat", norm="none", bias=bias, residual=True).double().eval()
    )


def read(model, x, **options):
    return cf.Eigenbasis(**options)(model, x, torch.Generator().manual_seed(1))


def dense(model, noisy):
    """The Jacobian at each image as a matrix."""
    jacobians = [torch.autograd.functional.jacobian(lambda y: model(y[None])[0].flatten(), y) for y in noisy]
    return torch.stack([j.flatten(1) for j in jacobians])


def test_values_and_vectors_are_those_of_the_jacobian(x):
    model = unet(bias=True)
    found = read(model, x, levels=[0.2], vectors=64, iterations=1)
    j = dense(model, found.images["noisy"])
    torch.testing.assert_close(found.numbers["singular values"], torch.linalg.svdvals(j))
    shown = torch.stack([found.images[str(k)] for k in range(1, 65)], 1).flatten(2) - 0.5
    directions = shown / shown.norm(dim=2, keepdim=True)
    stretched = torch.einsum("bij,bkj->bki", j, directions).norm(dim=2)
    torch.testing.assert_close(stretched, found.numbers["singular values"])
    gram = directions @ directions.mT
    torch.testing.assert_close(gram, torch.eye(64, dtype=torch.float64).expand_as(gram))
    assert shown.abs().flatten(2).amax(2).allclose(torch.tensor(0.5, dtype=torch.float64))


def test_rank_is_the_squared_frobenius_norm(x):
    model = unet(bias=True)
    found = read(model, x, levels=[0.1], draws=400)
    exact = dense(model, found.images["noisy"]).square().sum((1, 2))
    torch.testing.assert_close(found.numbers["rank, std 0.1"], exact, rtol=0.05, atol=0)


def test_a_projection_has_the_rank_of_its_space(x):
    model = cf.Linear((1, 8, 8), 5).double()
    basis = torch.linalg.qr(torch.randn(64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                {(5, 64): basis.T, (64, 5): basis}.get(tuple(parameter.shape), torch.zeros_like(parameter))
            )
    found = read(model, x, levels=[0.3], draws=2000, vectors=6)
    torch.testing.assert_close(
        found.numbers["rank, std 0.3"], torch.full((2,), 5.0, dtype=torch.float64), rtol=0.05, atol=0
    )
    values = torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(found.numbers["singular values"], values, rtol=0, atol=1e-6)


def test_without_constants_the_output_is_the_jacobian_times_the_image(x):
    without, with_constants = (read(unet(bias=bias), x, levels=[0.05, 0.3]) for bias in (False, True))
    for name in ("off the basis, std 0.05", "off the basis, std 0.3"):
        assert without.numbers[name].max() < 1e-12
        assert with_constants.numbers[name].min() > 1e-3


def test_batch_statistics_and_wrong_levels_are_refused(x):
    model = cf.UNet((1, 8, 8), width=4, depth=1).double()
    with pytest.raises(cf.errors.UsageError, match=r'^Eigenbasis\(statistics="batch"\) is invalid'):
        read(model, x, statistics="batch")
    with pytest.raises(cf.errors.UsageError, match=r"^Eigenbasis\(levels=-1.0\) is invalid"):
        cf.Eigenbasis(levels=[-1.0])
