"""copyfold.testing: valid classes of every family pass, and every requirement has a class that fails it."""

import ast
import inspect
import random
import re
import threading
from functools import cache, partial
from itertools import count
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal

import copyfold as cf
from copyfold.models.base import flat
from copyfold.models.blocks import BatchNorm
from copyfold.probes.base import Reading, still
from copyfold.probes.baselines import Baseline
from copyfold.samplers.base import perturbed
from copyfold.testing import (
    check_architecture,
    check_baseline,
    check_corruption,
    check_fidelity,
    check_middle,
    check_objective,
    check_optimizer,
    check_penalty,
    check_probe,
    check_problem,
    check_sampler,
    check_schedule,
    demands,
)
from copyfold.testing.demands import maps
from known import Pooled, Quartic, Squared, Strided

# ---------------------------------------------------------------- good classes


class Normed(cf.Autoencoder):
    """copyfold's batch norm, `output`, `statistics`, sides of any multiple of 2."""

    multiple = 2

    def __init__(self, shape=(1, 8, 8), output="linear", statistics="batch"):
        super().__init__(shape, output)
        self.encoder = nn.Sequential(nn.Conv2d(shape[0], 4, 2, 2), BatchNorm(4), nn.GELU())
        self.decoder = nn.ConvTranspose2d(4, shape[0], 2, 2)
        self.statistics = statistics

    def encode(self, x):
        return self.encoder(x)

    def logits(self, z):
        return self.decoder(z)


class Zeroed(Normed):
    """Its last layer starts at zero, and keeps the gradient from all others."""

    def __init__(self, shape=(1, 8, 8), output="linear", statistics="batch"):
        super().__init__(shape, output, statistics)
        nn.init.zeros_(self.decoder.weight)


class Maps(Strided):
    """Its code is a tuple of maps; one layer is frozen."""

    def __init__(self, shape=(3, 8, 6)):
        super().__init__(shape, 4)
        self.past = nn.Conv2d(shape[0], 2, 3, padding=1)
        self.back = nn.Conv2d(2, shape[0], 3, padding=1).requires_grad_(False)

    def encode(self, x):
        return super().encode(x), self.past(x)

    def decode(self, z):
        return super().decode(z[0]) + self.back(z[1])


class Drawn(cf.Autoencoder):
    """A posterior of its own, and a square layer with its transpose."""

    stochastic = True

    def __init__(self, shape=(1, 4, 4), latent_dim=3):
        super().__init__(shape)
        self.latent_dim = latent_dim
        self.heads = nn.Linear(shape[1] * shape[2], 2 * latent_dim)
        self.out = nn.Linear(latent_dim, shape[1] * shape[2])

    def posterior(self, x):
        mean, log_std = self.heads(x.flatten(1)).float().chunk(2, 1)
        return Normal(mean, log_std.exp())

    def encode(self, x):
        return self.posterior(x).mean

    def logits(self, z):
        return self.out(z).unflatten(1, self.shape)


class Twice(cf.Objective):
    """Reconstruction, and reconstruction of a darker image; no dataclass."""

    def __init__(self, dark=0.5):
        self.dark = dark

    def __call__(self, model, x, watch=None, step=None):
        terms = {}
        for name, y in (("light", x), ("dark", self.dark * x)):
            error = (model(y).float() - y).square()
            terms[name] = error.sum() / len(x)
            if watch is not None:
                watch[name] = error.detach().mean()
        return terms


class Lines(cf.Corruption):
    """Every so many rows are lost, at random."""

    def __init__(self, every=2):
        self.every = every

    def __call__(self, x, rng=None):
        first = int(torch.randint(self.every, (), generator=rng))
        lost = x.clone()
        lost[..., first :: self.every, :] = 0
        return lost


class Fading(cf.Sampler):
    """A walk with less noise at every step."""

    def __init__(self, steps=3, std=0.5):
        self.steps, self.std = steps, std

    @torch.no_grad()
    def __call__(self, model, x, rng):
        for n in range(1, self.steps + 1):
            x = model.decode(perturbed(model.encode(x), self.std / n, rng))
            yield x


class Blend(cf.Sampler):
    """One reconstruction, faded in; how many frames there are is no argument."""

    @torch.no_grad()
    def __call__(self, model, x, rng):
        y = model(x)
        for share in (0.0, 0.5, 1.0):
            yield x.lerp(y, share)


class Half(cf.Schedule):
    """Half and half."""

    def __call__(self, n, steps):
        return 0.0, 0.5, 0.5


class Spread(cf.Probe):
    """The std of the code under noise."""

    def __init__(self, std=0.1):
        self.std = std

    @torch.no_grad()
    def __call__(self, model, x, rng):
        noisy = cf.Gaussian(self.std)(x, rng)
        with still(model):
            return Reading({"std": flat(model.encode(noisy)).std(0)}, {"noisy": noisy})


class Median(Baseline):
    """The median of three columns."""

    def __init__(self, times=1):
        self.times = times

    def __call__(self, x, std):
        for _ in range(self.times):
            x = F.pad(x, (1, 1, 0, 0), "replicate").unfold(3, 3, 1).median(-1).values
        return x


class Rows(cf.Problem):
    """Every other row is measured, and the others are lost."""

    def __init__(self, gain=2.0):
        self.gain = gain

    def measure(self, x):
        return self.gain * x[..., ::2, :]

    def invert(self, m):
        return torch.stack((m / self.gain, torch.zeros_like(m)), 3).flatten(2, 3)


class Momentum(cf.Optimizer):
    """torch's SGD with momentum."""

    def __init__(self, momentum: float = 0.9) -> None:
        self.momentum = momentum

    def build(self, model, lr, precision):
        return torch.optim.SGD(model.parameters(), lr, momentum=self.momentum)


GOOD = [
    *(partial(check_architecture, model()) for model in (Strided, Normed, Zeroed, Maps, Drawn)),
    partial(check_architecture, cf.Variational(Strided(), 3)),
    partial(check_architecture, Normed().eval(), Twice()),
    partial(check_middle, Pooled()),
    partial(check_corruption, Lines()),
    partial(check_corruption, Lines(3), torch.rand(2, 1, 5, 7)),
    partial(check_fidelity, Quartic()),
    partial(check_penalty, Squared()),
    partial(check_penalty, Squared(0.1), Maps()),
    partial(check_objective, Twice()),
    partial(check_sampler, Fading()),
    partial(check_sampler, Blend()),
    partial(check_sampler, Fading(), Strided(), torch.rand(3, 1, 8, 8)),
    partial(check_sampler, cf.Renoising(3, grow=((2, 32),)), Normed((3, 16, 12))),
    partial(check_schedule, Half()),
    partial(check_probe, Spread()),
    partial(check_probe, Spread(), Maps()),
    partial(check_baseline, Median()),
    partial(check_problem, Rows()),
    partial(check_problem, Rows(0.1), torch.rand(1, 1, 6, 5)),
    partial(check_problem, Rows(), torch.rand(2, 2, 4, 4, dtype=torch.float64)),
    partial(check_optimizer, Momentum()),
]


@pytest.mark.parametrize("check", GOOD, ids=lambda check: f"{check.func.__name__}-{type(check.args[0]).__name__}")
def test_a_valid_class_passes_and_nothing_is_changed(check):
    models = [given for given in check.args if isinstance(given, nn.Module)]
    generator = torch.get_rng_state()
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    modes = [model.training for model in models]
    check()
    assert torch.equal(torch.get_rng_state(), generator)
    assert [model.training for model in models] == modes
    assert all(p.grad is None for model in models for p in model.parameters())
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


# ---------------------------------------------------------------- faulty classes, one for every demand

CHECKS = {
    cf.Autoencoder: check_architecture,
    cf.Middle: check_middle,
    cf.Corruption: check_corruption,
    cf.Fidelity: check_fidelity,
    cf.Penalty: check_penalty,
    cf.Objective: check_objective,
    cf.Sampler: check_sampler,
    cf.Schedule: check_schedule,
    cf.Probe: check_probe,
    Baseline: check_baseline,
    cf.Problem: check_problem,
    cf.Optimizer: check_optimizer,
}
numbers = count()


def faulty(base, *arguments, **methods):
    """An instance of a class called Faulty that differs from a good one in these methods."""
    own = {"__module__": __name__, "__qualname__": f"n{next(numbers)}.Faulty"}
    return type("Faulty", (base,), own | methods)(*arguments)


def by(names, function):
    """A method of these arguments, by a function that names those that it looks at."""

    def method(self, *given):
        known = {"self": self} | dict.fromkeys(names.split()) | dict(zip(names.split(), given, strict=False))
        return function(**{name: known[name] for name in inspect.signature(function).parameters})

    return method


def throws(error):
    raise error


# ---------------------------------------------------------------- architectures


def encoding(function, base=Strided, **more):
    return faulty(base, encode=by("x", function), **more)


def decoding(function, base=Strided, **more):
    return faulty(base, decode=by("z", function), **more)


def built(function, base=Strided, **more):
    """A model whose constructor does something more."""

    def init(self, shape=(1, 8, 8)):
        base.__init__(self, shape)
        function(self)

    return faulty(base, __init__=init, **more)


def forgetful(self, shape=(1, 8, 8), depth=1):
    Strided.__init__(self, shape)


def unread(self, shape=(1, 8, 8), output="linear"):
    Strided.__init__(self, shape)


def early(self, shape=(1, 8, 8), statistics="batch"):
    cf.Autoencoder.__init__(self, shape)
    self.statistics = statistics
    self.encoder, self.decoder = nn.Sequential(nn.Conv2d(1, 4, 2, 2), BatchNorm(4)), nn.ConvTranspose2d(4, 1, 2, 2)


def counting(self, x):
    self.calls += 1
    return Strided.encode(self, x)


def without_std(self, x):
    mean, other = self.heads(x.flatten(1)).chunk(2, 1)
    return Normal(mean, -other.exp(), validate_args=False)


def twins():
    """An instance of a class, after which another of its name was defined."""
    own = {"__module__": __name__, "__qualname__": "Faulty"}
    first, _ = type("Faulty", (Strided,), own), type("Faulty", (Strided,), own)
    return first()


deaf = property(lambda self: self.__dict__.get("s", "batch"), lambda self, s: self.__dict__.update(s=s))
only_codes = faulty(
    Twice, __call__=by("model x", lambda model, x: {"code": flat(model.encode(x)).square().mean()})
)
in_double = faulty(Twice, __call__=by("model x", lambda model, x: {"loss": model(x).double().square().mean()}))

ARCHITECTURES = {
    "class": (Strided, r"Strided: is a class: expected an instance, Strided\("),
    "no model": (
        partial(check_architecture, nn.Linear(2, 2)),
        r"Linear: is not a copyfold.Autoencoder: derive it from",
    ),
    "not stored": (faulty(Strided, __init__=forgetful), "depth is not stored; write self.depth = depth"),
    "nothing to train": (built(lambda self: self.requires_grad_(False)), "has no weights that can be trained"),
    "no copy": (built(lambda self: setattr(self, "lock", threading.Lock())), r"a copy of it .* failed: TypeError"),
    "idle parameter": (
        built(lambda self: setattr(self, "idle", nn.Linear(2, 2))),
        r"^Faulty: parameter idle.weight \(and 1 more\) gets no gradient from the reconstruction: use it in "
        r"encode or decode, or freeze it with requires_grad_\(False\)$",
    ),
    "idle in the objective": (
        partial(check_architecture, Normed(), only_codes),
        r"Normed: parameter decoder.weight \(and 1 more\) gets no gradient from the objective",
    ),
    "refused by the objective": (
        partial(check_architecture, Strided(), cf.Classical(penalties=(cf.Divergence(),))),
        "Strided: a step of training: Divergence needs a",
    ),
    "NaN": (
        encoding(lambda self, x: Strided.encode(self, x) + (0 * self.inward(x)).sqrt()),
        "the gradient of inward.0.weight is NaN or infinite: keep divisions",
    ),
    "NaN in bf16": (
        encoding(lambda self, x: (z := Normed.encode(self, x)) / (0 * z + 1 + 1e-4 - 1), Normed),
        "the loss is NaN or infinite under bf16 mixed precision",
    ),
    "loss in float64": (partial(check_architecture, Strided(), in_double), "Strided: the loss is torch.float64"),
    "records nothing": (
        faulty(Normed, train=lambda self, mode=True: nn.Module.train(self, False)),
        "the batch norm encoder.1 records no running averages in training mode",
    ),
    "no code": (
        encoding(lambda self, x: [self.inward(x)]),
        r"encode returned a list for .*: expected a tensor with a row per image",
    ),
    "whole numbers": (
        encoding(
            lambda self, x: Strided.encode(self, x).to(torch.float if self.training or len(x) == 2 else torch.int)
        ),
        "encode must return a float tensor with a row per image",
    ),
    "images in place": (
        encoding(lambda self, x: Strided.encode(self, x.sub_(0.5) if len(x) > 2 else x)),  # of 2, fit tells it too
        "encode changes the given images: use no inplace=True in the first layer",
    ),
    "random code": (
        encoding(lambda self, x: (z := Strided.encode(self, x)) + torch.randn_like(z)),
        "encode returns another code for the same images in eval mode: return the mean",
    ),
    "code in place": (
        decoding(lambda self, z: Strided.decode(self, z if self.training else z.mul_(2))),
        "decode changes the given code: use no inplace=True",
    ),
    "no images": (decoding(lambda self, z: Strided.decode(self, z)[..., 1:]), r"decode returned a tensor of 2x1"),
    "no images of four": (
        decoding(lambda self, z: Strided.decode(self, z)[..., (not self.training and len(z) == 4) :]),
        "decode returns a tensor of 4x1x8x7 for the code of 4x1x8x8: expected images of",
    ),
    "NaN in eval mode": (
        decoding(lambda self, z: Strided.decode(self, z) / self.training),
        "decode returns NaN or infinite values in eval",
    ),
    "random images": (
        decoding(lambda self, z: F.dropout(Strided.decode(self, z), 0.5)),
        "decode returns other images for the same code",
    ),
    "forward": (
        faulty(Strided, forward=lambda self, x: x + self.decode(self.encode(x))),
        r"model\(x\) is not decode\(encode\(x\)\): do not override forward of copyfold.Autoencoder",
    ),
    "draws another shape": (
        faulty(Strided, draw=lambda self, x: self.encode(x)[:, : 3 if self.training else 1]),
        r"draw returns \[\(4, 1, 4, 4\)\]: expected the shapes of encode, \[\(4, 3, 4",
    ),
    "hidden posterior": (faulty(Drawn, stochastic=False), "has a posterior, but stochastic is False: write"),
    "no posterior": (faulty(Strided, stochastic=True), "is stochastic, but posterior returns a None"),
    "not the mean": (
        faulty(Drawn, encode=lambda self, x: self.posterior(x).mean + 1),
        "encode is not the mean of the posterior",
    ),
    "std": (faulty(Drawn, posterior=without_std), "the posterior has a std of 0 or less"),
    "draws the mean": (
        faulty(Drawn, draw=lambda self, x: self.encode(x) if not self.training else self.posterior(x).rsample()),
        "draw returns the mean of the posterior: do not override draw",
    ),
    "output not used": (faulty(Strided, __init__=unread), "output='sigmoid' is not used: write super"),
    "output not obeyed": (decoding(lambda self, z: self.logits(z), Normed), r"with output='sigmoid' decode\(z\)"),
    "statistics too early": (faulty(Normed, __init__=early), "statistics='running' is not used: write"),
    "statistics reach nothing": (faulty(Normed, statistics=deaf), "'running' does not reach the batch norm"),
    "counts": (
        built(lambda self: self.register_buffer("calls", torch.zeros(())), encode=counting),
        r"in eval mode model\(x\): changes the model's weights or buffers",
    ),
    "mode": (encoding(lambda self, x: self.train() and Drawn.encode(self, x), Drawn), "changes the model's mode"),
    "images together": (
        encoding(lambda self, x: (z := Strided.encode(self, x)) - z.mean(0)),
        "an image's result depends on the other images of its batch, in eval mode with running statistics",
    ),
    "summary": (faulty(Strided, code_shapes=lambda self: ((7,),)), r"summary\(\) says code_size=7: expected 48;"),
    "view": (
        encoding(lambda self, x: Maps.encode(self, x.view(len(x), -1).view(x.shape)), Maps),
        "channels-last images failed: RuntimeError: view .*: images may be channels-last: use flatten or",
    ),
    "order of memory": (
        encoding(lambda self, x: Maps.encode(self, x + x.as_strided(x.shape, (144, 48, 6, 1))), Maps),
        "channels-last images give another result: images may",
    ),
    "multiple": (faulty(Drawn, multiple=1), "2x1x3x5 failed: RuntimeError: .* set None if shape fixes the"),
    "another multiple": (faulty(Normed, multiple=3), "returns 2x1x8x14 for 2x1x9x15: multiple=3 allows any sides"),
    "another class": (twins(), "is loaded as another class of that name"),
    "not loaded": (
        faulty(Strided, load_state_dict=lambda self, state, **_: None),
        "inward.0.weight has other values after loading",
    ),
    "hidden numbers": (
        built(
            lambda self: setattr(self, "unit", [torch.rand(1, 1, 8, 8)]),
            decode=lambda self, z: Strided.decode(self, z) + self.unit[0],
        ),
        r"returns other images after loading: everything that .* a buffer \(register_buffer\) or an argument",
    ),
    "sees farther": (
        decoding(lambda self, z: F.avg_pool2d(Strided.decode(self, z), 5, 1, 2)),
        "a pixel of the output depends on . pixels along an axis, but its layers give .: define layers",
    ),
}


class Forking(nn.Linear):
    """A layer with another in it that is not used."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.idle = nn.Linear(1, 1)


def squeezing(function):
    return faulty(Pooled, squeeze=by("c h w", function))


MIDDLES = {
    "no module": (squeezing(lambda: torch.relu), "squeeze returns a .*: expected a torch module"),
    "no code": (squeezing(lambda: nn.Flatten(0)), "squeeze maps 4x8x8x8 to a tensor of 2048: expected a tensor"),
    "other maps": (
        faulty(Pooled, expand=by("c", lambda c: nn.Linear(4, c))),
        "expand maps the code of 4x8x8x8 to 4x8",
    ),
    "an error": (faulty(Pooled, expand=by("c", lambda c: nn.Linear(5, c))), "squeeze and expand of 8x8x8 failed"),
    "an idle layer": (
        squeezing(lambda c, h, w: nn.Sequential(nn.Flatten(), Forking(c * h * w, 4))),
        "Faulty: in a UNet: parameter encoder.squeeze.1.idle.weight",
    ),
}

# ---------------------------------------------------------------- corruptions, fidelities, penalties, objectives


def corrupting(function):
    return faulty(Lines, __call__=by("x rng", function))


def storing(value):
    return faulty(Lines, __init__=lambda self, every=2: self.__dict__.update(every=value(every)))


CORRUPTIONS = {
    "not stored": (
        faulty(Lines, __init__=lambda self, every=2, more=1: Lines.__init__(self)),
        "more is not stored",
    ),
    "stored changed": (
        storing(lambda every: 2 * every),
        "created again from its stored arguments, it has another every",
    ),
    "not created again": (
        storing(lambda every: [int(every)]),
        r"created again from its stored arguments, \['every'\]",
    ),
    "no generator": (faulty(Lines, __call__=lambda self, x: x), r"failed: TypeError.*: define __call__\(self, x"),
    "in place": (corrupting(lambda x: x.mul_(0.5)), "changes the given images: work on a copy"),
    "global generator": (corrupting(lambda x: x + torch.randn_like(x)), "uses torch's global generator, but"),
    "another generator": (corrupting(lambda x: x + random.random()), "returns two results for the same state of"),
    "not reproducible": (
        corrupting(lambda x, rng: x if rng else x + random.random()),
        "without a generator it returns two results for the same torch.manual_seed",
    ),
    "other shape": (corrupting(lambda x: x[..., 1:]), "returns a tensor of 4x3x16x11 for 4x3x16x12: expected"),
    "other type": (
        corrupting(lambda x: x.double()),
        "returns torch.float64 on cpu for torch.float32 on cpu: keep",
    ),
    "float32 alone": (
        corrupting(lambda x: x.float()),
        "returns torch.float32 for torch.float64: keep the dtype of",
    ),
    "NaN": (corrupting(lambda x: x / 0), "returns NaN or infinite values"),
    "no gradient": (corrupting(lambda x: x.detach()), "blocks the gradient to the images: use no .detach"),
}


def judging(loss, image=lambda y, x: y, **more):
    """A fidelity by its loss, of images y and x, and by its second result."""

    def call(self, model, z, x):
        y = model.decode(z)
        return by("model x y z", loss)(self, model, x, y, z), image(y, x)

    return faulty(Quartic, __call__=call, **more)


def squares(y):
    return y.float().square().sum() / len(y)


FIDELITIES = {
    "no image": (
        faulty(Quartic, __call__=by("m z x", lambda m, z: squares(m.decode(z)))),
        r"expected \(loss, image\)",
    ),
    "not the image": (judging(lambda y: squares(y), lambda y, x: x), "its second result is not the image: return"),
    "a map": (judging(lambda y: y.square()), "the loss is a tensor of 4x3x16x12: expected a scalar tensor"),
    "other pixels": (
        faulty(Quartic, pixels=by("m z x", lambda m, z, x: ((x - m.decode(z)).square(), m.decode(z)))),
        "its pixels sum up to .* for an image, and the loss is",
    ),
    "missing pixels": (faulty(Quartic, leaves_out=True), "the loss is NaN with one: leave out those that are NaN"),
    "bf16": (judging(lambda y: y.square().sum() / len(y)), "the loss under bf16 mixed precision is"),
    "NaN": (judging(lambda y: y.float().sum() / 0), "the loss is NaN or infinite"),
    "detached": (judging(lambda y: squares(y.detach())), "the loss has no gradient: use no .item"),
    "not by the code": (
        judging(lambda model, x: squares(model(x))),
        "the loss has no gradient with respect to the code",
    ),
    "summed": (
        judging(lambda y: squares(y) * len(y)),
        "4 images have loss .*, the same images twice .*: average over",
    ),
    "random": (judging(lambda y: squares(y) * random.random()), "returns two losses for the same code: make"),
    "in place": (judging(lambda y, x: squares(y - x.mul_(2))), "changes the given code or images"),
    "mode": (judging(lambda y, model: squares(y) + (model.train() is None)), "changes the model's mode: restore"),
    "refuses all": (
        judging(lambda y: squares(y), check=lambda self, model: throws(cf.UsageError("never"))),
        r"refuses every model that it is checked on \(never\): give model=, with one that it accepts",
    ),
    "fails": (
        judging(lambda y: squares(y), check=lambda self, model: throws(KeyError("no"))),
        "Faulty on MLP failed: KeyError: 'no'$",
    ),
}


def paying(function):
    return faulty(Squared, __call__=by("model x z q", function))


PENALTIES = {
    "summed": (
        paying(lambda z: flat(z).square().sum()),
        "4 images have loss .*, the same images twice .*: average",
    ),
    "summed at random": (
        paying(lambda z: (flat(z) * torch.rand_like(flat(z))).square().sum()),
        "4 images have loss .*, the same images twice .*: average over",
    ),
    "bf16": (
        paying(lambda self, z: self.weight * torch.cat([m.flatten(1) for m in maps(z)], 1).square().sum(1).mean()),
        r"the penalty under bf16 mixed precision is torch.bfloat16: compute it in float32, from",
    ),
    "per image": (paying(lambda z: flat(z).square().sum(1)), "the penalty is a tensor of 4: expected a scalar"),
    "NaN": (paying(lambda z: flat(z).sum() / 0), "the penalty is NaN or infinite"),
    "infinite gradient": (paying(lambda z: (0 * flat(z)).sqrt().sum()), "its gradient is NaN or infinite: keep"),
    "detached": (paying(lambda z: squares(flat(z).detach())), "the penalty has no gradient: use no .item"),
    "of the decoder": (
        paying(lambda model: sum(p.square().sum() for p in model.decoder.parameters())),
        "has no gradient to the encoder: compute it from z, q or model",
    ),
    "vectors only": (
        paying(lambda z: squares(z.flatten(1))),
        r"Faulty on UNet \(its code is a tuple of maps\) failed: AttributeError: .*: take the code as one vector",
    ),
    "undeclared": (
        paying(lambda x, z: squares(torch.autograd.grad(flat(z).sum(), x, create_graph=True)[0])),
        "Faulty on MLP failed: RuntimeError: .*: if it needs the gradient of the code with respect to x, write",
    ),
    "in place": (
        paying(lambda self, z: self.weight * sum(squares(m.mul_(0.5)) for m in maps(z))),
        "changes the code in place, before it is decoded: work on a copy",
    ),
    "random": (
        paying(lambda z: random.random() * squares(flat(z))),
        "has two values for the same torch.manual_seed",
    ),
    "weight": (paying(lambda z: squares(flat(z))), "is .* with weight=3, .* with weight=1: multiply it by"),
    "share": (
        faulty(Squared, share=lambda self, step: 0.5),
        "share is .* expected values from 0 to 1 that end at",
    ),
    "model": (
        paying(lambda model, z: model.requires_grad_(False) and squares(flat(z))),
        "changes the model's requires_grad: restore it, or use torch.autograd.grad",
    ),
    "refuses": (
        partial(check_penalty, cf.Divergence(), Strided()),
        r"Divergence: refuses this model \(Divergence",
    ),
}


def losing(function):
    return faulty(Twice, __call__=by("model x watch step", function))


def watching(model, x, watch):
    loss = squares(model(x))
    if watch is not None:
        watch["a"] = loss
    return {"a": loss}


OBJECTIVES = {
    "no terms": (losing(lambda model, x: squares(model(x))), "returns a tensor of one number: expected the terms"),
    "a vector": (
        losing(lambda model, x: {"a": model(x).flatten(1).sum(1)}),
        "the term a is a tensor of 4: expected a",
    ),
    "no gradient": (
        losing(lambda model, x: {"a": squares(model(x).detach())}),
        "the sum of the terms has no gradient",
    ),
    "random": (
        losing(lambda model, x: {"a": random.random() * squares(model(x))}),
        "the term a has two values for the same torch.manual_seed",
    ),
    "summed": (
        losing(lambda model, x: {"a": model(x).float().square().sum()}),
        "4 images have loss .*: average over",
    ),
    "bf16": (losing(lambda model, x: {"a": model(x).square().mean()}), "the term a under bf16 mixed precision is"),
    "in place": (
        losing(lambda model, x: {"a": squares(model(x.mul_(0.9)))}),
        "changes the given images",
    ),
    "watched gradient": (
        losing(watching),
        r"watch\['a'\] requires a gradient: detach it",
    ),
    "not read back": (
        cf.Classical(storing(lambda every: 2 * every)),
        "^Classical: saved and read back, it has another corruption: store every argument",
    ),
    "doubt": (
        faulty(Twice, doubt=lambda self, x: x.mean() > 1),
        "doubt returns a tensor of one number: expected a",
    ),
    "no step": (faulty(Twice, __call__=lambda self, model, x: {}), "Faulty on MLP failed: TypeError"),
    "gradients": (
        losing(lambda model, x: squares(model(x)).backward() or {"a": squares(model(x))}),
        "changes the model's gradients: use torch.autograd.grad with respect to what you optimise",
    ),
}

# ---------------------------------------------------------------- samplers, schedules


def filming(function, base=Fading, **more):
    return faulty(base, __call__=by("model x rng steps", torch.no_grad()(function)), **more)


def each(function, **more):
    """A film of noisy images, changed each by a function."""

    def call(self, model, x, rng):
        for _ in range(self.steps):
            yield by("model x", function)(self, model, cf.Gaussian()(x, rng))

    return filming(call, **more)


def at_once(self, model, x, rng):
    yield from [model(cf.Gaussian()(x, rng)) for _ in range(self.steps)]


def eager(self, model, x, rng):
    return iter([model(cf.Gaussian()(x, rng)) for _ in range(self.steps)])


def with_gradients(self, model, x, rng):
    for _ in range(self.steps):
        yield model(cf.Gaussian()(x, rng))


def overwritten(self, model, x, rng):
    x = model(cf.Gaussian()(x, rng))
    for _ in range(self.steps):
        yield x.mul_(0.9)


def remembering(self, model, x, rng):
    self.__dict__["calls"] = calls = self.__dict__.get("calls", 0) + 1
    for _ in range(self.steps):
        yield model(cf.Gaussian()(x, rng)) + calls


def unbounded(self, model, x, rng):
    while True:
        yield cf.Gaussian()(x, rng)


def spoiling(self, model, x, rng):
    for _ in range(self.steps):
        yield cf.Gaussian()(x.mul_(0.5), rng)


def unfinished(self, model, x, rng):
    model.train()
    for _ in range(self.steps):
        yield cf.Gaussian()(x, rng)
    model.eval()


def noisy(function):
    return faulty(Fading, noise=by("count shape rng", function))


SAMPLERS = {
    "not stored": (
        faulty(Fading, __init__=lambda self, steps=3, tempo=1: Fading.__init__(self)),
        "tempo is not stored",
    ),
    "global generator": (
        each(lambda model, x: model(x + torch.randn_like(x))),
        "uses torch's global generator, but gets its own",
    ),
    "seeds it": (each(lambda x: torch.manual_seed(0) and x), "uses torch's global generator, but gets its own"),
    "too few": (
        filming(lambda x, rng: iter([cf.Gaussian()(x, rng)])),
        "yields 1 frames with steps=3: yield exactly",
    ),
    "too many": (filming(unbounded), "yields more than 3 frames with steps=3: yield exactly `steps`"),
    "no end": (filming(unbounded, Blend), "does not end after 1000 frames: give it an argument `steps`"),
    "none": (filming(lambda: iter(()), Blend), "yields no frame"),
    "a list": (filming(lambda x: [x, x, x]), "returns a list: yield the frames one by one"),
    "eager": (
        filming(eager),
        "calls the model before a frame is requested: compute inside the generator, with yield",
    ),
    "at once": (
        filming(at_once),
        "computes all frames before it yields the first: yield each as soon as it is computed",
    ),
    "no tensor": (each(lambda model, x: model(x).numpy()), "frame 1 is a ndarray: yield images"),
    "fewer images": (each(lambda x: x[:1]), "frame 1 is 1x3x16x12 for 4x3x16x12: yield as many images as x has"),
    "other size": (each(lambda x: x[..., 1:]), "frame 1 is 4x3x16x11 for 4x3x16x12"),
    "NaN": (each(lambda x: x / 0), "frame 1 has NaN or infinite values"),
    "gradient": (
        faulty(Fading, __call__=with_gradients),
        r"frame 1 requires a gradient, as do all before it: put",
    ),
    "one tensor": (filming(overwritten), "yields one tensor several times: yield a new tensor"),
    "memory": (filming(remembering), "returns two films for the same state of the generator: draw from rng alone"),
    "in place": (filming(spoiling), "changes the given images: work on a copy"),
    "weights": (
        each(lambda model, x: next(model.parameters()).mul_(0.9).sum() + x),
        "changes the model's weights or buffers: compute in a copy",
    ),
    "mode": (filming(unfinished), "changes the model's mode: restore it afterwards, with"),
    "statistics": (
        each(lambda model, x: (setattr(model, "statistics", "batch"), x)[1]),
        "changes the model's statistics: choose them with model.using",
    ),
    "hooks": (
        each(lambda model, x: (model.register_forward_hook(print), x)[1]),
        "changes the model's hooks: remove",
    ),
    "tuples": (
        each(lambda model, x: model.decode(model.encode(x) * 0.5)),
        r"Faulty on UNet \(its code is a tuple of maps\) failed: TypeError: .*: treat every map as you treat a",
    ),
    "noise from elsewhere": (
        noisy(lambda count, shape: torch.randn(count, *shape)),
        "uses torch's global generator",
    ),
    "no noise": (noisy(lambda count: torch.zeros(count)), "noise returns a tensor of 3: expected 3 images of"),
    "other noise": (
        noisy(lambda count, shape: torch.full((count, *shape), random.random())),
        "noise returns two results for the same state of the generator",
    ),
}


def weighing(function):
    return faulty(Half, __call__=by("n steps", function))


SCHEDULES = {
    "two": (weighing(lambda: (0.5, 0.5)), r"returns \(0.5, 0.5\) for step 1: expected three finite numbers"),
    "infinite": (weighing(lambda n: (0.0, 1.0, n * float("inf"))), r"returns \(0.0, 1.0, inf\) for step 1"),
    "random": (weighing(lambda: (0.0, 1.0, random.random())), "returns other weights when called again"),
    "an error": (weighing(lambda n: 1 / (n - 3)), "steps 1 to 10 failed: ZeroDivisionError"),
}

# ---------------------------------------------------------------- probes, baselines


class Unchecked(Reading):
    """Outside of these tests nobody looks at what a Reading is made of."""

    def __init__(self, numbers, images=()):
        self.__dict__.update(numbers=numbers, images=dict(images))


def asking(function):
    return faulty(Spread, __call__=by("model x rng", function))


def reading(function):
    return asking(lambda model, x: Reading({"n": by("model x", function)(None, model, x)}))


PROBES = {
    "no reading": (asking(lambda x: {"n": x}), "returns a dict: expected a copyfold.probes.base.Reading"),
    "no number": (asking(lambda: Reading({})), "its Reading has no number: give it at least one"),
    "no tensor": (asking(lambda: Unchecked({"n": 1.0})), "n is a float: expected a tensor"),
    "NaN": (reading(lambda x: x / 0), "n has NaN or infinite values"),
    "gradient": (reading(lambda model, x: model(x)), r"n requires a gradient: put @torch.no_grad\(\) on __call__"),
    "no images": (asking(lambda x: Unchecked({"n": x}, {"y": x[0]})), "the images y are 3x16x12: expected b x c"),
    "random": (reading(lambda x: x * random.random()), "n has two values for the same state of the generator"),
    "global generator": (reading(lambda x: torch.rand_like(x)), "uses torch's global generator, but gets"),
    "train mode": (reading(lambda model, x: model.train()(x).detach()), "changes the model's mode: restore it"),
    "gradients": (reading(lambda model, x: model(x).sum().backward() or x), "changes the model's gradients: use"),
    "in place": (reading(lambda x: x.mul_(2)), "changes the given images: work on a copy"),
    "tuples": (reading(lambda model, x: model.encode(x).detach()), r"on UNet .* failed: AttributeError.*: take"),
    "no data": (
        cf.Quality(),
        r"Quality: refuses every model that it is checked on .*Quality\(reference=real images",
    ),
}


def restoring(function):
    return faulty(Median, __call__=by("x std", function))


def tuning(function):
    return faulty(Median, tuned=classmethod(by("noisy clean std", function)))


BASELINES = {
    "in place": (restoring(lambda x: x.mul_(0.9)), "changes the given images: work on a copy"),
    "other shape": (
        restoring(lambda x: x[..., 1:]),
        "returns a tensor of 8x3x16x11 for 8x3x16x12: expected images",
    ),
    "other type": (restoring(lambda x: x.double()), "returns torch.float64 on cpu for torch.float32 on cpu: keep"),
    "NaN": (restoring(lambda x: x / 0), "returns NaN or infinite values"),
    "random": (restoring(lambda x: x + torch.rand_like(x)), "returns two results for the same images: make it"),
    "an error": (faulty(Median, __call__=lambda self, x: x), "8x3x16x12 with noise of std 0.1 failed: TypeError"),
    "tuned to nothing": (tuning(lambda: None), "tuned returns a NoneType: expected a Faulty tuned to"),
    "tuned badly": (tuning(lambda self: self("x")), "Faulty as tuned: 8x3x16x12 with noise of std 0.1 failed"),
}

# ---------------------------------------------------------------- optimisers


def measuring(function, **more):
    return faulty(Rows, measure=by("x", function), **more)


def inverting(function, **more):
    return faulty(Rows, invert=by("m", function), **more)


def projecting(function):
    return faulty(Rows, project=by("f y m", function))


PROBLEMS = {
    "class": (Rows, r"Rows: is a class: expected an instance, Rows\("),
    "not stored": (faulty(Rows, __init__=lambda self, rows=2: None), "rows is not stored; write self.rows = rows"),
    "measure fails": (
        measuring(lambda x: throws(ValueError("no"))),
        "measure of 4x3x16x12 in torch.float64 failed",
    ),
    "global generator": (
        measuring(lambda x: x[..., ::2, :] + torch.randn(()).to(x)),
        "uses torch's global generator",
    ),
    "one of all": (measuring(lambda x: x.mean(0)), "measure returns a tensor of 3x16x12 for 4x3x16x12"),
    "always float64": (
        inverting(lambda self, m: Rows.invert(self, m).double()),
        "invert returns torch.float64 on",
    ),
    "NaN": (measuring(lambda x: x[..., ::2, :] / 0), "measure returns NaN or infinite values"),
    "random": (
        measuring(lambda x: x[..., ::2, :] * random.random()),
        "measure returns two results for the same images",
    ),
    "in place": (measuring(lambda self, x: Rows.measure(self, x.mul_(0.5))), "measure changes the given images"),
    "another size": (inverting(lambda m: m), "invert returns 4x3x8x12 from the measurement of 4x3x16x12"),
    "not linear": (measuring(lambda x: x[..., ::2, :].square()), r"measure is not linear: expected measure\(2 a"),
    "constant": (inverting(lambda self, m: Rows.invert(self, m) + 1), "invert is not linear"),
    "batch": (
        measuring(lambda x: x[..., ::2, :] - x[..., ::2, :].mean(0)),
        "measure of an image depends on the rest of its batch",
    ),
    "other gain": (
        inverting(lambda self, m: 2 * Rows.invert(self, m)),
        r"invert\(m\) differs from m by up to .* in torch.float32: invert must be the pseudo-inverse",
    ),
    "too coarse": (
        inverting(lambda self, m: (1 + 1e-6) * Rows.invert(self, m)),
        r"invert\(m\) differs from m by up to .* in torch.float64: invert must be",
    ),
    "repeated": (
        inverting(lambda self, m: (m / self.gain).repeat_interleave(2, 2)),
        "is not an orthogonal projection: of the images",
    ),
    "project fails": (
        projecting(lambda f: throws(ValueError("no"))),
        r"project\(f, y, m\) failed: ValueError: no",
    ),
    "project's shape": (projecting(lambda f: f[..., :1]), "project returns 4x3x16x1 for a step of 4x3x16x12"),
    "no projection": (projecting(lambda f: f), "is not measured as m: leave project as"),
    "further each time": (
        projecting(lambda self, f, y, m: Rows.project(self, f, y, m) + unmeasured(self, f)),
        "a step that was projected changes when it is projected again",
    ),
    "nothing else": (
        projecting(lambda self, f, y, m: (v := Rows.project(self, f, y, m)) - unmeasured(self, v)),
        "project changes what is not measured",
    ),
}


def unmeasured(problem, x):
    return x - problem.invert(problem.measure(x))


class Stepping(torch.optim.SGD):
    """SGD whose step is a function of it and of its base class's step."""

    def __init__(self, parameters, lr, function):
        super().__init__(parameters, lr)
        self.function, self.steps = function, 0

    def step(self, closure=None):
        self.steps += 1
        self.function(self, super().step)


def sgd(model, lr):
    return torch.optim.SGD(model.parameters(), lr)


def building(function):
    return faulty(Momentum, build=by("model lr precision", function))


def stepping(function):
    return building(lambda model, lr: Stepping(model.parameters(), lr, function))


def without_rate(optimizer, step):
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    step()


def ever_slower(optimizer, step):
    for group in optimizer.param_groups:
        group["lr"] /= optimizer.steps
    step()


OPTIMIZERS = {
    "no rate": (faulty(Momentum, lr=0.0), "lr is 0.0: give the class a learning rate above 0"),
    "none": (building(lambda: None), "build returns a NoneType: expected a torch.optim.Optimizer"),
    "of half precision": (
        building(lambda model, lr, precision: throws(ValueError("no")) if precision == "16" else sgd(model, lr)),
        "build with precision '16' failed: ValueError: no",
    ),
    "not all": (
        building(lambda model, lr: torch.optim.SGD(model.encoder.parameters(), lr)),
        "is in no group: give all of model.parameters",
    ),
    "no step": (stepping(lambda optimizer, step: None), "a step does not change encoder"),
    "step fails": (stepping(lambda optimizer, step: throws(ValueError("no"))), "step failed: ValueError: no"),
    "its own rate": (stepping(without_rate), "a step with a learning rate of 0 changes encoder"),
    "keeps a function": (
        stepping(lambda optimizer, step: step() or optimizer.param_groups[0].update(weight_decay=str.upper)),
        "to load its state failed|step failed",
    ),
    "forgets": (stepping(ever_slower), "a state that was saved and loaded steps to other weights"),
}


# ---------------------------------------------------------------- what is said of them

FAULTY = {
    f"{family} {what}": case
    for family, cases in {
        "architecture": ARCHITECTURES,
        "middle": MIDDLES,
        "corruption": CORRUPTIONS,
        "fidelity": FIDELITIES,
        "penalty": PENALTIES,
        "objective": OBJECTIVES,
        "sampler": SAMPLERS,
        "schedule": SCHEDULES,
        "probe": PROBES,
        "baseline": BASELINES,
        "problem": PROBLEMS,
        "optimizer": OPTIMIZERS,
    }.items()
    for what, case in cases.items()
}


@cache
def caught(case: str) -> tuple[str, str, int]:
    """What is said of a faulty class, and the file and line of the demand."""
    given = FAULTY[case][0]
    kind = given if isinstance(given, type) else type(given)
    check = next((check for base, check in CHECKS.items() if issubclass(kind, base)), lambda given: given())
    with pytest.raises(AssertionError) as raised:
        check(given)
    frames = [entry for entry in raised.traceback if "copyfold/testing" in entry.path.as_posix()]
    place = next(entry for entry in reversed(frames) if entry.name != "require")
    return str(raised.value), place.path.name, place.lineno + 1


@pytest.mark.parametrize("case", FAULTY)
def test_an_invalid_class_fails_with_the_right_message(case):
    message = caught(case)[0]
    assert re.search(FAULTY[case][1], message)
    assert re.match("Faulty|Strided|Rows|Normed|Linear|Classical|Divergence|Quality", message)
    assert "\n" not in message
    assert len(message) < 300


def test_every_requirement_has_a_class_that_fails_it():
    seen = [caught(case)[1:] for case in FAULTY]
    demanded = [
        (path.name, node.lineno, node.end_lineno)
        for path in Path(demands.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise | ast.Call)
        and ast.unparse(node).startswith(("require(", "raise AssertionError(f"))
    ]
    assert len(demanded) > 80
    unseen = [(n, a) for n, a, b in demanded if not any(n == name and a <= line <= b for name, line in seen)]
    assert not unseen
