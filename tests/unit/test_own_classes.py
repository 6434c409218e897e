"""User classes: recorded when defined, trained, saved, loaded; or refused before training."""

import gc
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import copyfold as cf
from copyfold import catalogue
from copyfold.catalogue import build, describe, find
from copyfold.corruptions import Corruption
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective, Penalty
from known import Pooled, Quartic, Squared, Strided


class Tied(cf.Autoencoder):
    """Both ways by one matrix."""

    def __init__(self, shape, latent_dim=5, output="linear"):
        super().__init__(shape, output)
        self.latent_dim = latent_dim
        self.down = nn.Linear(shape[0] * shape[1] * shape[2], latent_dim, bias=False)
        self.up = nn.Linear(latent_dim, shape[0] * shape[1] * shape[2], bias=False)
        self.up.weight = nn.Parameter(self.down.weight.T.detach())
        self.again = self.down

    def encode(self, x):
        return self.again(x.flatten(1))

    def logits(self, z):
        return self.up(z).view(-1, *self.shape)


class Rows(cf.Corruption):
    """Every so many rows are lost; no dataclass."""

    def __init__(self, every=2):
        self.every = every

    def __call__(self, x, rng=None):
        lost = x.clone()
        lost[..., :: self.every, :] = 0
        return lost


class Steps(cf.Schedule):
    """All or nothing."""

    def __init__(self, at):
        self.at = at

    def __call__(self, n, steps):
        return (0.0, 1.0, 0.0) if n > self.at * steps else (0.0, 0.0, 1.0)


@pytest.fixture
def photos():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    return cf.Photos(pixels, layout="NHW", size=8)


# ---------------------------------------------------------------- trained and read back


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: Strided(shape, 3, 0.5),
        lambda shape: Tied(shape, 7),
        lambda shape: cf.Variational(Strided(shape, 2), 3),
        lambda shape: cf.UNet(shape, width=4, depth=2, middle=Pooled(3)),
    ],
)
def test_a_trained_user_model_is_loaded_exactly(make, photos, tmp_path):
    objective = cf.Classical(Rows(3), Quartic(), (Squared(0.5),))
    model = make(photos.shape)
    run = cf.fit(model, objective, photos, run=tmp_path / "r", epochs=1, batch=8)
    loaded = cf.load(tmp_path / "r")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    x = photos.images("held_out", 2)
    torch.testing.assert_close(loaded(x), model(x), rtol=1e-4, atol=1e-5)  # laid out in memory in another way
    assert torch.equal(run.model(x), loaded(x))
    recipe = yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())
    again = build(Objective, recipe["objective"])
    assert describe(again) == describe(objective)
    run = cf.fit(loaded, objective, photos, run=tmp_path / "r", epochs=2, batch=8, resume=True)
    assert run.history[-1]["epoch"] == 2


def test_shared_weights_stay_shared_after_loading(tmp_path):
    Tied((1, 4, 4)).save(tmp_path)
    loaded = cf.load(tmp_path)
    assert loaded.again.weight is loaded.down.weight


def test_a_model_without_logits_gets_them_from_its_images():
    class Shown(Strided):
        def __init__(self, shape, output):
            super().__init__(shape)
            self.output = output

        def decode(self, z):
            image = super().decode(z)
            return torch.sigmoid(image) if self.output == "sigmoid" else image

    x = torch.rand(4, 1, 8, 8)
    for output, expected in (("sigmoid", torch.logit), ("linear", lambda y: y)):
        model = Shown((1, 8, 8), output).eval()
        z = model.encode(x)
        torch.testing.assert_close(model.logits(z), expected(model.decode(z)))


def test_a_model_without_encoder_is_its_own_encoder_and_decoder():
    model = Strided((1, 8, 8))
    assert model.encoder is model
    assert model.decoder is model
    assert "encoder" not in dict(model.named_modules())
    assert model.summary().code_size == 3 * 4 * 4
    with pytest.raises(AttributeError, match="encodr"):
        model.encodr  # noqa: B018


def test_config_json_has_the_bare_name_and_the_module(tmp_path):
    Strided((1, 8, 8)).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {
        "architecture": "Strided", "module": "known", "shape": [1, 8, 8], "width": 3, "scale": 2.0
    }  # fmt: skip


def test_a_missing_class_is_reported_and_its_module_not_imported(tmp_path, monkeypatch):
    Strided((1, 8, 8)).save(tmp_path / "m")
    (tmp_path / "my_models.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text()) | {"architecture": "Unseen"}
    for module, words in (("my_models", "give --import my_models"), ("__main__", "script or notebook")):
        path.write_text(json.dumps(config | {"module": module}))
        with pytest.raises(cf.UsageError, match="Unseen is not known here") as caught:
            cf.load(tmp_path / "m")
        assert words in str(caught.value)
    assert "my_models" not in sys.modules


def test_weights_of_another_dtype_are_refused(tmp_path):
    model = Strided((1, 8, 8))
    model.save(tmp_path, {k: v.double() for k, v in model.state_dict().items()})
    with pytest.raises(cf.UsageError, match="9 tensors differ"):
        cf.load(tmp_path)


# ---------------------------------------------------------------- names


@pytest.fixture
def defined(monkeypatch):
    """Define a class of a name, as if in that module; it is forgotten with the test."""
    monkeypatch.setattr(catalogue, "_recorded", dict(catalogue._recorded))

    def defined(module: str, name: str, base: type = Corruption) -> type:
        inside = {"__module__": module, "__qualname__": name, "__call__": lambda self, x, rng=None: x}
        return type(name, (base,), inside)

    yield defined
    gc.collect()


def test_a_class_is_known_when_it_is_defined():
    assert find(Corruption, "Rows") is Rows
    assert find(Corruption, f"{__name__}.Rows") is Rows
    assert find(Autoencoder, "elsewhere.Strided") is Strided
    assert isinstance(build(Penalty, describe(Squared(2.0))), Squared)


def test_a_redefined_class_replaces_the_former_one(defined):
    first = defined("notebook_a", "Rerun")
    second = defined("notebook_a", "Rerun")
    assert find(Corruption, "Rerun") is second is not first


def test_one_name_in_two_modules_is_resolved_by_the_module(defined):
    first, second = defined("paper_a", "Twin"), defined("paper_b", "Twin")
    assert find(Corruption, describe(first())["class_path"]) is first
    assert find(Corruption, describe(second())["class_path"]) is second
    with pytest.raises(cf.UsageError, match=r"2 classes: say which of paper_a\.Twin, paper_b\.Twin"):
        find(Corruption, "Twin")


def test_a_class_named_like_one_of_copyfold_is_refused(photos, tmp_path, defined):
    mine = defined("my_models", "Gaussian")
    assert find(Corruption, "Gaussian") is cf.Gaussian
    with pytest.raises(cf.UsageError, match=r"my_models\.Gaussian has the name of .* another name"):
        cf.fit(cf.Linear(photos.shape), cf.Classical(mine()), photos, run=tmp_path / "r", epochs=1)
    assert not (tmp_path / "r").exists()


def test_copyfold_s_lists_have_copyfold_s_classes_only():
    assert Rows.__name__ not in catalogue.classes(Corruption)
    assert "Rows" not in dir(cf)
    assert not hasattr(cf, "Rows")


def test_a_module_offers_defined_and_imported_classes(defined):
    module = types.ModuleType("my_shop")
    own, below, other = (defined(m, n) for m, n in (("my_shop", "Own"), ("my_shop.deep", "Below"), ("x", "Other")))
    module.Borrowed = Rows
    offered = catalogue.offered(module)
    assert {own, below, Rows} <= set(offered)
    assert other not in offered
    assert cf.Gaussian not in offered


def test_a_plain_class_has_a_repr_with_its_arguments():
    assert repr(Rows(3)) == "Rows(every=3)"
    assert repr(cf.Renoising(schedule=Steps(0.5))).startswith("Renoising(steps=30")
    assert "schedule=Steps(at=0.5)" in repr(cf.Renoising(schedule=Steps(0.5)))
    assert catalogue.changed(Rows(3), every=4).every == 4


# ---------------------------------------------------------------- refused before training


class Forgetful(Strided):
    """It does not store an argument."""

    def __init__(self, shape, depth=1):
        super().__init__(shape)


class Doubling(Strided):
    """It stores another value than it was given."""

    def __init__(self, shape, width=2):
        super().__init__(shape, width)
        self.width = 2 * width


class Global(Strided):
    """Its layers depend on something that is no argument."""

    more = 3

    def __init__(self, shape):
        super().__init__(shape, 4)
        self.extra = nn.Linear(1, Global.more)


class Holding(Strided):
    """An argument is a tensor."""

    def __init__(self, shape, filters):
        super().__init__(shape)
        self.filters = filters


class Loose(Strided):
    """It takes whatever it is given."""

    def __init__(self, shape, **more):
        super().__init__(shape)


class Named(Strided):
    """An argument has a name that config.json needs."""

    def __init__(self, shape, module="x"):
        super().__init__(shape)
        self.module = module


class Cropping(Strided):
    """Its images are too small."""

    def decode(self, z):
        return super().decode(z)[..., 1:]


class Failing(Strided):
    """Its encoder does not work."""

    def encode(self, x):
        return self.inward(x.flatten(1))


class Pairs(Strided):
    """Its code is no tensor."""

    def encode(self, x):
        return {"code": self.inward(x)}


class Weightless(cf.Autoencoder):
    """There is nothing to train."""

    def encode(self, x):
        return x

    def decode(self, z):
        return z


def enlarged(model: Global) -> Global:
    model.extra = nn.Linear(1, 5)
    return model


REFUSED = {
    "not stored": (lambda s: Forgetful(s), "argument depth is not stored; write self.depth = depth"),
    "stored changed": (lambda s: Doubling(s), r"stores width=4, but 8 when rebuilt from that: store"),
    "other weights": (lambda s: enlarged(Global(s)), r"other weights, 2 of them, the first is extra\.bias"),
    "a tensor": (lambda s: Holding(s, torch.ones(3)), r"Holding\.filters is a Tensor and cannot be written down"),
    "keywords": (lambda s: Loose(s, depth=3), r"takes \*\*more; name every argument"),
    "a reserved name": (lambda s: Named(s), "argument called module"),
    "other images": (
        lambda s: Cropping(s),
        r"decode returned a tensor of 2x1x8x7 for the code of a tensor of 2x1x8x8: expected images",
    ),
    "an error": (lambda s: Failing(s), r"Failing\.encode failed on a tensor of 2x1x8x8: \w+Error"),
    "no code": (lambda s: Pairs(s), r"Pairs\.encode returned .* expected a tensor with a row per image"),
    "no weights": (lambda s: Weightless(s), "no weights that can be trained"),
    "no model": (lambda s: nn.Linear(3, 3), r"is invalid: expected an instance of Autoencoder, as in UNet\("),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cannot_be_loaded_again_is_refused_before_training(make, words, photos, tmp_path):
    with pytest.raises(cf.UsageError, match=words):
        cf.fit(make(photos.shape), photos=photos, run=tmp_path / "r", epochs=1)
    assert not (tmp_path / "r").exists()


def test_a_model_that_lacks_a_method_cannot_be_created():
    class Half(cf.Autoencoder):
        def encode(self, x):
            return x

    with pytest.raises(cf.UsageError, match="Half has neither logits nor decode"):
        Half((1, 4, 4))

    class Other(cf.Autoencoder):
        def decode(self, z):
            return z

    with pytest.raises(TypeError, match="encode"):
        Other((1, 4, 4))


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (cf.Classical(Rows(Path("x"))), r"Rows\.every is a PosixPath and cannot be written down"),
        (cf.Classical(Rows({1: 2})), r"Rows\.every is a dict and cannot be written down"),
        (cf.Gaussian(), r"Gaussian\(std=0.2\) is invalid: expected an instance of Objective, as in Classical\(\)"),
    ],
)
def test_an_objective_that_cannot_be_saved_is_refused_before_training(objective, words, photos, tmp_path):
    with pytest.raises(cf.UsageError, match=words):
        cf.fit(cf.Linear(photos.shape), objective, photos, run=tmp_path / "r", epochs=1)
    assert not (tmp_path / "r").exists()


class Vector(cf.Penalty):
    """It is not averaged."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, model, x, z, q=None):
        return self.weight * z.flatten(1).square().sum(1)


class Halved(cf.Corruption):
    """Its images are smaller."""

    def __call__(self, x, rng=None):
        return x[..., ::2]


class Broken(cf.Corruption):
    """It does not work."""

    def __call__(self, x, rng=None):
        raise KeyError("colour")


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (cf.Classical(penalties=(Vector(),)), r"Vector returned a tensor of \(2,\): expected a scalar tensor"),
        (cf.Classical(Halved()), r"Classical failed on 2 images: RuntimeError"),
        (cf.Classical(Broken()), r"Classical failed on 2 images: KeyError: 'colour'"),
    ],
)
def test_an_objective_that_fails_is_refused_before_anything_is_written(objective, words, photos, tmp_path):
    model = cf.MLP(photos.shape, norm="batch")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(cf.UsageError, match=words):
        cf.fit(model, objective, photos, run=tmp_path / "r", epochs=1)
    assert not (tmp_path / "r").exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_loading_a_class_of_another_module_gives_a_warning(tmp_path, caplog, defined):
    Strided((1, 8, 8)).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"module": "elsewhere"}))
    cf.load(tmp_path)
    assert "Strided came from elsewhere, and is taken as known.Strided" in caplog.text


def test_a_source_in_place_of_photos_is_read_as_the_model_takes_it(tmp_path):
    rng = torch.Generator().manual_seed(0)
    run = cf.fit(cf.Linear((1, 8, 8)), None, torch.rand(40, 3, 12, 12, generator=rng), tmp_path / "a", epochs=1)
    assert run.recipe["data"].startswith("the array 40x3x12x12 float32")
    assert (run.recipe["size"], run.recipe["channels"]) == (8, 1)
    with pytest.raises(cf.DataError, match=r"there is no folder or file .*my/photos"):
        cf.fit(cf.Linear((1, 8, 8)), photos="my/photos")
    with pytest.raises(cf.UsageError, match="Linear is a model, and not images"):
        cf.fit(cf.Linear((1, 8, 8)), None, cf.Linear((1, 8, 8)))
    with pytest.raises(cf.UsageError, match="the source is of type int"):
        cf.fit(cf.Linear((1, 8, 8)), photos=3)


def test_a_misspelt_argument_of_fit_gets_a_suggestion(photos):
    for wrong, right in (("epoch", "epochs"), ("minute", "minutes"), ("objectives", "objective")):
        with pytest.raises(cf.UsageError, match=f"no argument '{wrong}': did you mean {right}"):
            cf.fit(cf.Linear(photos.shape), photos=photos, **{wrong: 1})


def test_numpy_numbers_are_accepted():
    assert describe(Rows(np.int64(3))) == {"class_path": f"{__name__}.Rows", "init_args": {"every": 3}}
    assert type(describe(Squared(np.float32(0.5)))["init_args"]["weight"]) is float


# ---------------------------------------------------------------- plug-ins


class Point:
    """An entry point as importlib.metadata gives them."""

    def __init__(self, name, module, load):
        self.name, self.module, self.value, self.load = name, module, module, load


@pytest.fixture
def installed(monkeypatch):
    """Say which entry points there are."""

    def installed(*points):
        monkeypatch.setattr(catalogue, "entry_points", lambda group: points if group == "copyfold.plugins" else ())
        catalogue.plugins.cache_clear()

    yield installed
    catalogue.plugins.cache_clear()


def test_a_plug_in_is_loaded_when_a_name_is_searched(installed, monkeypatch, defined):
    def load():
        monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
        defined("shop", "Plugged")

    installed(Point("shop", "shop", load))
    with pytest.raises(cf.UsageError, match="no Penalty is called 'Plugged'"):
        find(Penalty, "Plugged")
    assert find(Corruption, "Plugged").__module__ == "shop"


def test_a_broken_plug_in_gives_a_warning_only(installed, caplog, monkeypatch, defined):
    def broken():
        raise SystemExit("no")

    def taken():
        monkeypatch.setitem(sys.modules, "greedy", types.ModuleType("greedy"))
        defined("greedy", "Gaussian")

    installed(
        Point("bad", "bad", broken), Point("worse", "worse", lambda: 1 / 0), Point("greedy", "greedy", taken)
    )
    assert catalogue.plugins() == ()
    said = caplog.text
    assert "the plug-in bad (bad) is left out: SystemExit: no" in said
    assert "the plug-in worse (worse) is left out: ZeroDivisionError" in said
    assert "greedy.Gaussian has the name of a class of copyfold's own" in said


# ---------------------------------------------------------------- what a training does with them


class Shuffled(Tied):
    """The order of its pixels is a buffer of whole numbers, and a mask has an infinity."""

    def __init__(self, shape, latent_dim=5):
        super().__init__(shape, latent_dim)
        self.register_buffer("order", torch.arange(shape[1] * shape[2]).flip(0))
        self.register_buffer("mask", torch.full((2,), -torch.inf))

    def encode(self, x):
        return super().encode(x.flatten(1)[:, self.order])


def test_integer_buffers_are_not_averaged_and_infinite_ones_are_no_divergence(photos, tmp_path):
    model = Shuffled(photos.shape)
    order, mask = model.order.clone(), model.mask.clone()
    cf.fit(model, None, photos, run=tmp_path / "r", epochs=3, batch=8, average=0.9)
    found = cf.load(tmp_path / "r")
    assert torch.equal(found.order, order)
    assert torch.equal(found.mask, mask)


def test_resuming_a_finished_training_leaves_the_averaged_weights_in_the_model(photos, tmp_path):
    models = [cf.Linear(photos.shape, 4) for _ in range(2)]
    for model in models:
        cf.fit(model, None, photos, run=tmp_path / "r", epochs=2, batch=8, average=0.9, resume=True)
    first, again = (model.state_dict() for model in models)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_an_encoder_that_changes_its_images_is_refused(photos, tmp_path):
    class Scaling(Strided):
        def encode(self, x):
            return super().encode(x.mul_(2))

    with pytest.raises(cf.UsageError, match=r"Scaling\.encode changes its input images"):
        cf.fit(Scaling(photos.shape), photos=photos, run=tmp_path / "r", epochs=1)
