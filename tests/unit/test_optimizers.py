"""Optimisers against torch's own, and against what defines them."""

import pytest
import torch
from torch import nn

import copyfold as cf
from copyfold.errors import UsageError
from copyfold.training.optimizers import Adam, Muon, orthogonal
from copyfold.training.plan import Plan


def _model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 4)).double()


def _train(model, optimizer, steps=20):
    x, y = torch.rand(16, 3, 4, 4, dtype=torch.float64), torch.rand(16, 4, dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_adam_takes_the_steps_of_torch_adam():
    ours, torchs = _model(), _model()
    torch.manual_seed(1)
    found = _train(ours, Adam().build(ours, 1e-2, "32"))
    torch.manual_seed(1)
    expected = _train(torchs, torch.optim.Adam(torchs.parameters(), lr=1e-2))
    assert torch.allclose(found, expected, rtol=0, atol=1e-9)


def test_weights_that_are_no_matrices_take_adam_steps_in_muon():
    torch.manual_seed(2)
    ours, torchs = nn.Parameter(torch.randn(7)), nn.Parameter(torch.zeros(7))
    torchs.data.copy_(ours.data)
    holder = nn.Module()
    holder.weight = ours
    optimizers = [Muon(adam=0.5).build(holder, 0.02, "32"), torch.optim.Adam([torchs], lr=0.01)]
    for _ in range(15):
        gradient = torch.randn(7)
        for weight, optimizer in zip((ours, torchs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert torch.allclose(ours, torchs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 90), (90, 24), (5, 5)])
def test_singular_values_become_about_one_and_the_directions_stay(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    y = orthogonal(x)
    inside = u.T @ y @ v.T  # diagonal, where the directions are those of x
    large = s > 0.02 * s.max()  # five iterations lift what is smaller only part of the way
    assert torch.allclose(inside, torch.diag(inside.diag()), atol=1e-9)
    assert (inside.diag()[large] > 0.6).all()
    assert (inside.diag() < 1.25).all()


@pytest.fixture(params=["highest", "medium"])
def products(request):
    """The precision of float32's products, as a user may have set it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("iterations", [5, 10])
@pytest.mark.parametrize("rank", [3, None])
@pytest.mark.parametrize("shape", [(8, 30), (64, 64), (200, 48)])
def test_squares_do_what_products_do_of_small_singular_values_and_of_none(shape, rank, iterations, products):
    generator = torch.Generator().manual_seed(5)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    s = torch.logspace(0, -3, min(shape))
    s[rank if rank else len(s) :] = 0
    x = u @ torch.diag(s) @ v
    found, expected = orthogonal(x, iterations), by_products(x.double(), iterations)
    assert (found - expected).norm() < 1e-3 * expected.norm()
    assert not orthogonal(torch.zeros(shape), iterations).any()


def by_products(x, iterations):
    x = x / x.norm()
    for _ in range(iterations):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x


def test_muon_takes_the_steps_of_torch_muon_on_matrices():
    torch.manual_seed(4)
    ours, torchs = nn.Linear(12, 30, bias=False), nn.Linear(12, 30, bias=False)
    torchs.load_state_dict(ours.state_dict())
    optimizers = [
        Muon(momentum=0.95).build(ours, 0.02, "bf16"),
        torch.optim.Muon(torchs.parameters(), lr=0.02, momentum=0.95, nesterov=True, weight_decay=0.0),
    ]
    for _ in range(5):
        gradient = torch.randn(30, 12)
        for layer, optimizer in zip((ours, torchs), optimizers, strict=True):
            layer.weight.grad = gradient.clone()
            optimizer.step()
    difference = (ours.weight - torchs.weight).norm() / (5 * 0.02 * 12**0.5)  # over the length of five steps
    assert difference < 0.03  # both compute in bfloat16


def test_a_convolution_steps_as_its_matrix_of_outputs_by_the_rest():
    torch.manual_seed(5)
    conv, dense = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(27, 8, bias=False)
    dense.weight.data.copy_(conv.weight.data.flatten(1))
    optimizers = [Muon().build(layer, 0.02, "32") for layer in (conv, dense)]
    for _ in range(3):
        gradient = torch.randn(8, 3, 3, 3)
        conv.weight.grad, dense.weight.grad = gradient, gradient.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(conv.weight.flatten(1), dense.weight)


@pytest.mark.parametrize("given", ["Muon", Muon, torch.optim.Adam])
def test_a_plan_takes_no_other_optimizer(given):
    with pytest.raises(UsageError, match=r"optimizer=.* is invalid: .*cf.Muon\(\)"):
        Plan(optimizer=given)


def test_muon_is_for_convolutions_and_adam_for_the_rest():
    conv, dense = cf.UNet((1, 16, 16), width=4, depth=2), cf.MLP((1, 8, 8), (4,), 2)
    assert Plan().resolved(conv).optimizer == Muon()
    assert Plan().resolved(dense).optimizer == Adam()
    assert (Plan().resolved(conv).lr, Plan().resolved(dense).lr) == (0.02, 1e-3)
    assert Plan(optimizer=Adam(), lr=0.5).resolved(conv).lr == 0.5


@pytest.mark.parametrize(("own", "other"), [(Adam(), Muon()), (Muon(), Adam())])
def test_a_resume_with_another_optimizer_is_refused_and_the_run_stays(own, other, tmp_path):
    photos = cf.Photos(size=8, limit=32)
    options = {"epochs": 1, "precision": "32", "progress": False}
    cf.fit(cf.MLP(photos.shape, (4,), 2), None, photos, tmp_path / "run", optimizer=own, **options)
    before = (tmp_path / "run" / "last.ckpt").read_bytes()
    with pytest.raises(UsageError, match=f"of another optimizer: .* its own, optimizer {type(own).__name__},"):
        cf.fit(
            cf.MLP(photos.shape, (4,), 2), None, photos, tmp_path / "run", resume=True,
            optimizer=other, **options | {"epochs": 2},
        )  # fmt: skip
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


def test_a_resume_has_the_learning_rate_that_is_given_now(tmp_path):
    photos, rates = cf.Photos(size=8, limit=32), []
    options = {"precision": "32", "progress": False, "schedule": "constant"}
    cf.fit(cf.MLP(photos.shape, (4,), 2), None, photos, tmp_path / "run", epochs=1, **options)

    def note(event, state):
        rates.append(state.optimizer.param_groups[0]["lr"])

    cf.fit(
        cf.MLP(photos.shape, (4,), 2), None, photos, tmp_path / "run", resume=True, epochs=2, lr=1e-5,
        callbacks=[note], **options,
    )  # fmt: skip
    assert set(rates) == {1e-5}


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Adam(decay=-1.0), "decay"),
        (lambda: Adam(b1=1.0), "b1"),
        (lambda: Muon(momentum=1.5), "momentum"),
        (lambda: Muon(adam=float("nan")), "adam"),
        (lambda: Muon(iterations=0), "iterations"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(make, named):
    with pytest.raises(UsageError, match=named):
        make()
