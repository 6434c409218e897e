"""The two classifiers and their training: sizes, the formula of a block, learning, invalid arguments."""

from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Generator, nn

import copyfold as cf
from copyfold.data.batches import Batches


def small():
    return [cf.CNN((3, 8, 12), 5, widths=(4, 8)), cf.ViT((3, 8, 12), 5, patch=4, dim=8, depth=2, heads=2, mlp=16)]


def labelled(count=24, classes=4):
    """Random images with random labels: they can only be learned by heart."""
    rng = Generator().manual_seed(4)
    return torch.rand(count, 1, 8, 8, generator=rng), torch.randint(classes, (count,), generator=rng)


def chance():
    """A linear model that starts with the same score for every class."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model


# ---------------------------------------------------------------- the networks


@pytest.mark.parametrize("index", [0, 1])
def test_a_classifier_scores_every_class_of_every_image_alone(index):
    model = small()[index].eval()
    x = torch.rand(3, 3, 8, 12)
    assert model(x).shape == (3, 5)
    torch.testing.assert_close(model(x)[:1], model(x[:1]))
    assert torch.equal(model.train()(x), model(x))
    model(x).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("index", [0, 1])
def test_the_same_seed_makes_the_same_weights(index):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in small()[index].parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_layers_have_the_sizes_of_the_docstrings():
    seen = {}
    cnn, vit = cf.CNN((1, 16, 16), 10), cf.ViT((1, 16, 16), 10, patch=4, dim=64)
    for name in ("blocks.0.conv2", "blocks.0.pool", "blocks.1.act2", "blocks.2.conv1"):
        cnn.get_submodule(name).register_forward_hook(lambda m, x, y, n=name: seen.update({n: tuple(y.shape[1:])}))
    for name in ("patches", "blocks.3", "blocks.3.mlp.fc1", "head"):
        vit.get_submodule(name).register_forward_hook(lambda m, x, y, n=name: seen.update({n: tuple(y.shape[1:])}))
    cnn(torch.rand(2, 1, 16, 16))
    vit(torch.rand(2, 1, 16, 16))
    assert seen == {
        "blocks.0.conv2": (32, 16, 16),
        "blocks.0.pool": (32, 8, 8),
        "blocks.1.act2": (64, 8, 8),
        "blocks.2.conv1": (128, 4, 4),
        "patches": (64, 4, 4),
        "blocks.3": (16, 64),
        "blocks.3.mlp.fc1": (16, 128),
        "head": (10,),
    }
    assert len(cf.CNN((1, 1, 1), 2, widths=(4,)).blocks) == 1


def test_outputs_seen_by_a_hook_are_not_changed_in_place():
    model, seen = small()[0], {}
    layers = [m for m in model.modules() if not list(m.children())]
    for layer in layers:
        layer.register_forward_hook(lambda m, x, y: seen.update({m: (y, y.clone())}))
    model(torch.rand(2, 3, 8, 12))
    assert len(seen) == len(layers)
    assert all(torch.equal(kept, then) for kept, then in seen.values())


def test_a_block_of_the_transformer_is_torch_s_own_with_norms_first():
    ours = cf.ViT((1, 8, 8), 2, patch=4, dim=8, depth=1, heads=2, mlp=16).blocks[0]
    theirs = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {"attention": "self_attn", "mlp.fc1": "linear1", "mlp.fc2": "linear2"}
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_(std=0.5)
    for name in ("norm1", "norm2", *names):
        theirs.get_submodule(names.get(name, name)).load_state_dict(ours.get_submodule(name).state_dict())
    t = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(t), theirs(t), rtol=1e-5, atol=1e-5)


def test_patches_are_read_row_by_row_and_know_where_they_are():
    model = cf.ViT((1, 4, 8), 2, patch=4, dim=16, depth=1, heads=2, mlp=4).eval()
    x = torch.rand(1, 1, 4, 8)
    swapped = torch.cat((x[..., 4:], x[..., :4]), dim=3)
    seen = []
    model.blocks.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    assert (model(x) - model(swapped)).abs().max() > 1e-6
    with torch.no_grad():
        model.positions.zero_()
    torch.testing.assert_close(model(x), model(swapped))
    patches = torch.stack((x[..., :4].flatten(), x[..., 4:].flatten()))
    weight = model.patches.weight.flatten(1)
    torch.testing.assert_close(seen[-2][0], patches @ weight.T + model.patches.bias)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cf.CNN((1, 16), 10), "(channels, height, width)"),
        (lambda: cf.CNN((0, 16, 16), 10), "channels=0"),
        (lambda: cf.CNN((1, 16, 16), 1), "classes=1"),
        (lambda: cf.CNN((1, 16, 16), 10, widths=(8, 0)), "widths[1]=0"),
        (lambda: cf.CNN((1, 16, 16), 10, widths=()), "len(widths)=0"),
        (lambda: cf.CNN((1, 3, 16), 10), "sides of at least 4, or fewer widths"),
        (
            lambda: cf.ViT((1, 16, 16), 10, patch=5),
            "patch=5 is invalid: expected a divisor of images of 16x16, one of 1, 2, 4",
        ),
        (lambda: cf.ViT((1, 16, 24), 10, patch=16), "expected a divisor of images of 16x24, one of 1, 2, 4, 8"),
        (
            lambda: cf.ViT((1, 16, 16), 10, dim=10, heads=4),
            "heads=4 is invalid: expected a divisor of dim=10, one of 1, 2, 5, 10",
        ),
        (lambda: cf.ViT((1, 16, 16), 10, depth=0), "depth=0"),
        (lambda: cf.ViT((1, -4, 16), 10), "height=-4"),
    ],
)
def test_impossible_sizes_are_refused(make, words):
    with pytest.raises(cf.UsageError) as caught:
        make()
    assert words in str(caught.value)


# ---------------------------------------------------------------- fit_classifier


@pytest.mark.parametrize(
    "make",
    [
        lambda: cf.CNN((1, 8, 8), 4, widths=(16, 32)),
        lambda: cf.ViT((1, 8, 8), 4, patch=4, dim=32, depth=2, heads=4, mlp=64),
    ],
)
def test_a_few_images_are_memorised(make):
    x, y = labelled()
    model = make()
    losses = cf.fit_classifier(model, x, y, epochs=60, batch=8, lr=5e-3)
    assert len(losses) == 60
    assert losses[0] > 1
    assert losses[-1] < 0.05
    assert not any(m.training for m in model.modules())
    with torch.no_grad():
        assert torch.equal(model(x).argmax(1), y)


def test_the_loss_of_the_first_step_is_the_cross_entropy():
    x, y = labelled()
    model = chance()
    assert cf.fit_classifier(model, x, y.numpy(), epochs=1) == pytest.approx([log(4)])  # one batch of all of them
    assert model[1].weight.abs().sum() > 0


def test_training_is_a_function_of_the_seed():
    x, y = labelled()
    runs = []
    for seed in (0, 0, 1):
        model = chance()
        runs.append((cf.fit_classifier(model, x, y, epochs=3, batch=8, seed=seed), model[1].weight.detach()))
        torch.rand(7)
    assert runs[0][0] == runs[1][0]
    assert torch.equal(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]


def test_every_epoch_has_its_own_order_and_drops_the_last_partial_batch():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.rows = nn.Parameter(torch.zeros(2)), []

        def forward(self, x):
            if self.training:
                self.rows.append(x.flatten().tolist())
            return self.bias.expand(len(x), 2)

    x, model = torch.arange(10.0).reshape(10, 1, 1, 1), Watched()
    cf.fit_classifier(model, x, torch.zeros(10, dtype=torch.uint8), epochs=2, batch=4, seed=5)
    order = Batches(np.arange(10).reshape(10, 1, 1, 1), 4, 5)
    assert model.rows == [rows.flatten().tolist() for _ in range(2) for rows in order]
    assert [len(rows) for rows in model.rows] == [4] * 4
    assert model.rows[:2] != model.rows[2:]
    assert len({row for rows in model.rows[:2] for row in rows}) == 8


def test_a_step_is_adamw_s():
    """Every step is Adam's with decoupled decay, written out in float64, at the rates of one cycle."""
    x, y = labelled(8)
    model = chance().double()
    x = x.double()
    w, b = torch.zeros(4, 64, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    state = [[p, torch.zeros_like(p), torch.zeros_like(p)] for p in (w, b)]
    cf.fit_classifier(model, x, y, epochs=5, batch=8, lr=0.01)
    probe = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(probe, 0.01, total_steps=5, cycle_momentum=False)
    momentum = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)]), 0.01, total_steps=5
    )
    for n in range(1, 6):
        rate = cycle.get_last_lr()[0]
        beta = momentum.optimizer.param_groups[0]["betas"][0]
        errors = (x.flatten(1) @ state[0][0].T + state[1][0]).softmax(1) - F.one_hot(y, 4)
        gradients = (errors.T @ x.flatten(1) / 8, errors.mean(0))
        for kept, g in zip(state, gradients, strict=True):
            p, m, v = kept
            m, v = beta * m + (1 - beta) * g, 0.999 * v + 0.001 * g**2
            p = p * (1 - 0.01 * rate) - rate * (m / (1 - beta**n)) / ((v / (1 - 0.999**n)).sqrt() + 1e-8)
            kept[:] = p, m, v
        probe.step()
        cycle.step()
        momentum.optimizer.step()
        momentum.step()
    torch.testing.assert_close(model[1].weight.detach(), state[0][0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(model[1].bias.detach(), state[1][0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch": 0}, "batch=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"y": torch.zeros(5, dtype=torch.long)}, "(5,) labels of torch.int64 do not fit 24 images"),
        ({"y": torch.zeros(24)}, "labels of torch.float32 do not fit"),
        ({"y": torch.zeros(24, 1, dtype=torch.long)}, "(24, 1) labels"),
        ({"x": torch.zeros(0, 1, 8, 8), "y": torch.zeros(0, dtype=torch.long)}, "do not fit 0 images"),
        ({"y": np.arange(24) - 1}, "the labels go from -1 to 22, the model's classes from 0 to 3"),
        ({"y": np.arange(24) % 5}, "the labels go from 0 to 4"),
        ({"model": nn.Conv2d(1, 4, 3)}, "the model returned (1, 4, 6, 6) for one image: expected (1, classes)"),
    ],
)
def test_images_that_do_not_fit_are_refused(change, words):
    x, y = labelled()
    given = {"model": chance(), "x": x, "y": y, "epochs": 1} | change
    with pytest.raises(cf.UsageError) as caught:
        cf.fit_classifier(**given)
    assert words in str(caught.value)


def test_a_nan_loss_ends_the_training():
    x, y = labelled()
    x[3] = torch.nan
    with pytest.raises(cf.Diverged, match=r"became nan in epoch 1: start again, with lr below 0\.001"):
        cf.fit_classifier(chance(), x, y, epochs=2)
