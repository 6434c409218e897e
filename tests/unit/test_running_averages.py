"""Running averages that are estimated again, against torch's update_bn and against what training recorded."""

import copy
import json

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import update_bn

import copyfold as cf
from copyfold.data import scenes
from copyfold.training.plan import Plan
from copyfold.training.running_averages import RunningAverages

ENOUGH = 10**9  # images trained on: all 1024 are paid for


@pytest.fixture(scope="module")
def photos():
    return cf.Photos(size=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = cf.UNet((1, 16, 16), width=4, depth=2)
    return model.train()


def _averages(photos, objective=None, seed=0):
    fabric = Fabric(accelerator="cpu", devices=1)
    return RunningAverages(objective or cf.Classical(), photos, Plan(seed=seed), fabric, torch.contiguous_format)


class _Torchs(nn.Module):
    """The same network with torch's own norms, for update_bn."""

    def __init__(self, model):
        super().__init__()
        self.model = copy.deepcopy(model)
        for module in list(self.model.modules()):
            for name, child in list(module.named_children()):
                if type(child).__name__ == "BatchNorm":
                    norm = nn.BatchNorm2d(len(child.weight))
                    norm.load_state_dict(child.state_dict(), strict=False)
                    setattr(module, name, norm)

    def forward(self, x):
        return self.model.logits(self.model.encode(x))


def test_they_are_what_torch_update_bn_makes_of_the_same_images(photos, model):
    averages = _averages(photos)
    other = _Torchs(model)
    update_bn([batch / 255 for batch in averages._pixels.split(64)], other)
    with averages.estimated(model, ENOUGH):
        ours = dict(model.named_buffers())
        for name, expected in other.model.named_buffers():
            if "running" in name:
                assert torch.allclose(ours[name], expected, rtol=1e-4, atol=1e-5), name


class _Twice(cf.Objective):
    """Plain reconstruction, of a model that is gone through twice; or of none of it."""

    def __init__(self, passes=2):
        self.passes = passes

    def __call__(self, model, x, watch=None, step=None):
        found = [(model(x) - x).square().mean() for _ in range(self.passes)]
        return {"fidelity": sum(found, torch.zeros(()))}


def test_a_norm_that_is_reached_twice_has_the_same_averages(photos, model):
    found = []
    for objective in (None, _Twice()):
        with _averages(photos, objective).estimated(model, ENOUGH):
            found.append({name: buffer.clone() for name, buffer in model.named_buffers()})
    assert all(torch.allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-5) for name in found[0])


def test_a_norm_that_is_not_reached_keeps_the_averages_of_training(photos, model):
    before = [buffer.clone() for buffer in model.buffers()]
    with _averages(photos, _Twice(0)).estimated(model, ENOUGH):
        assert all(map(torch.equal, before, model.buffers()))


def test_large_images_are_taken_few_at_a_time():
    averages = _averages(cf.Photos(scenes(24, 600), 576))
    assert averages._batch == 16  # that of a step


def test_outside_the_block_the_model_is_as_training_left_it(photos, model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with _averages(photos).estimated(model, ENOUGH):
        assert any(not torch.equal(before[name], tensor) for name, tensor in model.named_buffers())
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.training
    assert model.statistics == "batch"


def test_the_corruption_of_the_objective_is_in_them(photos, model):
    found = {}
    for name, corruption in (("clean", cf.Clean()), ("noisy", cf.Gaussian(1.0))):
        with _averages(photos, cf.Classical(corruption)).estimated(model, ENOUGH):
            found[name] = model.encoder["stem"].norm1.get_buffer("running_var").clone()
    assert (found["noisy"] > 2 * found["clean"]).all()


def test_they_are_the_same_every_time(photos, model):
    found = []
    for stir in (1, 2):
        torch.manual_seed(stir)
        with _averages(photos, cf.Classical(cf.Gaussian(1.0))).estimated(model, ENOUGH):
            found.append(model.encoder["stem"].norm1.get_buffer("running_mean").clone())
    assert torch.equal(*found)


@pytest.mark.parametrize(("trained", "final", "count"), [(0, False, 8), (3200, False, 58), (3200, True, 82)])
def test_they_are_of_as_many_images_as_training_pays_for(photos, model, monkeypatch, trained, final, count):
    averages, seen = _averages(photos), []
    monkeypatch.setattr(averages, "_estimate", lambda _, pixels: seen.append(len(pixels)))
    with averages.estimated(model, trained, final):
        assert seen == [count]


def test_a_model_without_norms_costs_no_pass(photos, monkeypatch):
    averages = _averages(photos)
    monkeypatch.setattr(averages, "_estimate", lambda *_: pytest.fail("went through the model"))
    with averages.estimated(cf.UNet((1, 16, 16), width=4, depth=2, norm="none"), ENOUGH):
        pass


def test_what_is_saved_has_them_and_what_training_goes_on_from_has_not(photos, tmp_path):
    torch.manual_seed(0)
    model = cf.UNet(photos.shape, width=4, depth=2)
    run = cf.fit(model, None, photos, tmp_path / "run", steps=300, threads=1, precision="32")
    saved = run.model.state_dict()
    name = "encoder.stem.norm1.running_mean"
    raw = torch.load(run.checkpoint, weights_only=True)["state_dict"][f"model.{name}"]
    assert torch.equal(model.state_dict()[name], saved[name])
    assert not torch.equal(saved[name], raw)
    with _averages(photos).estimated(model.train(), 300 * 16, final=True):
        assert torch.allclose(model.state_dict()[name], saved[name], atol=1e-6)


def test_the_statistics_of_the_code_are_of_each_held_out_image_by_itself(photos, tmp_path):
    torch.manual_seed(0)
    model = cf.MLP(photos.shape, (8,), 4, norm="batch")
    run = cf.fit(model, None, photos, tmp_path / "run", steps=101, threads=1, precision="32")  # an epoch
    logged = json.loads((run.folder / "findings" / "codes.json").read_text())
    raw = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in raw.items()})
    x = photos.images("held_out")
    with _averages(photos).estimated(model.train(), 101 * 16):
        found = {
            kind: cf.CodeStatistics(kind, batch=16)(model.eval(), x, torch.Generator()).numbers["variance"]
            for kind in ("running", "batch")
        }
    assert logged["variance"] == pytest.approx(found["running"].tolist(), rel=1e-4)
    assert logged["variance"] != pytest.approx(found["batch"].tolist(), rel=1e-2)


def test_the_log_has_the_error_of_each_held_out_image_by_itself(photos, tmp_path):
    torch.manual_seed(0)
    model = cf.UNet(photos.shape, width=4, depth=2)
    run = cf.fit(model, None, photos, tmp_path / "run", steps=101, threads=1, precision="32")  # an epoch
    raw = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in raw.items()})
    x = torch.from_numpy(photos.held_out).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad(), _averages(photos).estimated(model.train(), 101 * 16), model.eval().using("running"):
        error = torch.cat([model(image) for image in x.split(1)]).sub(x).square().mean().item()
    assert run.history[-1]["held_out_mse"] == pytest.approx(error, rel=1e-4)
