"""Requirements of the parts of a loss: corruptions, fidelities, penalties and objectives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from copyfold import catalogue
from copyfold.corruptions import Corruption
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Classical, Objective, Penalty
from copyfold.objectives.fidelities import Fidelity
from copyfold.testing.demands import (
    accepted,
    attempt,
    can_be_saved,
    class_name,
    close,
    copied,
    images,
    kind,
    maps,
    no_global_randomness,
    require,
    same,
    seeded,
    shown,
    size,
    stores_arguments,
    untouched,
)
from copyfold.types import Images

DRAWS = 64  # samples of a random term, whose means are compared
LATE = 10**9  # a step after every warm-up


def check_corruption(corruption: Corruption, x: Images | None = None) -> None:
    """Check that a corruption behaves as copyfold requires, on images x (random colour images by default).

    It is a function of the images and the state of the generator; without a generator, of torch's global one. It
    keeps shape, dtype and device, returns finite values, does not change the given images, and lets gradients flow
    to them. Its arguments are stored. AssertionError says in one line what is wrong.
    """
    name = class_name(corruption, Corruption)
    stores_arguments(corruption)
    can_be_saved(corruption)
    x = images() if x is None else x
    with seeded(), torch.no_grad():
        given = x.clone()
        with attempt(f"{name}: {size(x)}", "define __call__(self, x, rng=None)"), no_global_randomness(name):
            once, twice = (corruption(x, Generator().manual_seed(5)) for _ in range(2))
        require(same(x, given), f"{name}: changes the given images: work on a copy, x = x.clone()")
        shaped = isinstance(once, Tensor) and once.shape == x.shape
        require(shaped, f"{name}: returns {shown(once)} for {size(x)}: expected images of that shape")
        kept = once.dtype == x.dtype and once.device == x.device
        require(kept, f"{name}: returns {once.dtype} on {once.device} for {x.dtype} on {x.device}: keep both")
        require(once.isfinite().all(), f"{name}: returns NaN or infinite values")
        require(
            same(once, twice),
            f"{name}: returns two results for the same state of the generator: draw from rng alone, as in "
            "torch.randn(..., generator=rng) or copyfold.corruptions.noise_like(x, rng=rng)",
        )
        with attempt(f"{name}: {size(x)} without a generator"):
            draws = []
            for _ in range(2):
                torch.default_generator.manual_seed(7)
                draws.append(corruption(x))
        require(
            same(*draws),
            f"{name}: without a generator it returns two results for the same torch.manual_seed: draw from "
            "torch's global generator if rng is None",
        )
        with attempt(f"{name}: one image in double precision"):
            double = corruption(x[:1].double(), Generator())
        require(
            double.dtype == torch.float64, f"{name}: returns {double.dtype} for torch.float64: keep the dtype of x"
        )
    with seeded(), attempt(f"{name}: images that require a gradient"):
        spoiled = corruption(x.clone().requires_grad_(), Generator())
    require(spoiled.requires_grad, f"{name}: blocks the gradient to the images: use no .detach(), .data or numpy")


def check_fidelity(fidelity: Fidelity, model: Autoencoder | None = None) -> None:
    """Check that a fidelity behaves as copyfold requires.

    It returns (loss, image). The loss is a float32 scalar, also under bf16 mixed precision, averaged over the
    batch, with a gradient to the code; the image is D(z), in x's shape. It is deterministic, and changes neither
    code nor images nor model. Where it has `pixels`, their sum, averaged over the batch, is the loss; where it
    leaves missing pixels out, the loss is a number though some are NaN. Its arguments are stored. AssertionError
    says in one line what is wrong.
    """
    name = class_name(fidelity, Fidelity)
    stores_arguments(fidelity)
    can_be_saved(fidelity)

    def ask(model: Autoencoder, x: Images | None = None, z: Any = None) -> tuple[Tensor, Images]:
        x = images(model.shape) if x is None else x
        fidelity.check(model)
        return fidelity(model, model.encode(x) if z is None else z, x)

    with seeded():
        for net, _ in accepted(name, model, ask):
            x = images(net.shape)
            z = copied(net.encode(x))
            for m in maps(z):
                m.requires_grad_()
            given = copied(z), x.clone()
            answer, again = ask(net, x, z), ask(net, x, z)
            right = isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(a, Tensor) for a in answer)
            require(right, f"{name}: returns {shown(answer)}: expected (loss, image), a scalar and D(z)")
            loss, image = answer
            _is_a_loss(name, "the loss", loss)
            require(same(given, (copied(z), x)), f"{name}: changes the given code or images: work on copies")
            require(
                same(loss.detach(), again[0].detach()),
                f"{name}: returns two losses for the same code: make it deterministic",
            )
            decoded = close(image, net.decode(z), atol=1e-4)
            require(decoded, f"{name}: its second result is not the image: return (loss, model.decode(z))")
            gradients = torch.autograd.grad(loss, maps(z), allow_unused=True)
            reached = any(g is not None and g.any() for g in gradients)
            require(
                reached,
                f"{name}: the loss has no gradient with respect to the code: decode z without no_grad or detach",
            )
            _is_a_batch_mean(name, "the loss", lambda images, net=net: ask(net, images)[0], x)
            _is_of_pixels(name, fidelity, net, x)


def check_penalty(penalty: Penalty, model: Autoencoder | None = None) -> None:
    """Check that a penalty behaves as copyfold requires.

    It returns a float32 scalar, also under bf16 mixed precision, averaged over the batch, with a gradient to the
    encoder. An argument called `weight` or `beta` multiplies it; `share` is in [0, 1], and 1 at the end. It
    changes neither code nor model. Its random numbers are a function of torch's seed. Its arguments are stored.

    Checked on an MLP, a Variational and a UNet whose code is a tuple of maps, unless `model` is given; models that
    `check` refuses with UsageError are skipped. AssertionError says in one line what is wrong.
    """
    name = class_name(penalty, Penalty)
    stores_arguments(penalty)
    can_be_saved(penalty)

    def paid(model: Autoencoder, x: Images | None = None, penalty: Penalty = penalty) -> Tensor:
        penalty.check(model)
        return Classical(penalties=(penalty,))(model, images(model.shape) if x is None else x)[name]

    advice = "if it needs the gradient of the code with respect to x, write differentiates = True in the class"
    on_tuples = "take the code as one vector, copyfold.models.base.flat(z), or refuse such models in check"
    with seeded():
        for net, _ in accepted(name, model, paid, advice, on_tuples):
            x = images(net.shape)
            _changes_no_code(name, penalty, net)
            value, again = (_with_seed(partial(paid, net, x)) for _ in range(2))
            _is_a_loss(name, "the penalty", value)
            alike = same(value.detach(), again.detach())
            require(alike, f"{name}: has two values for the same torch.manual_seed: draw from torch's generator")
            _reaches_the_encoder(name, net, value)
            _is_a_batch_mean(name, "the penalty", lambda images, net=net: paid(net, images), x)
            _grows_with_its_weight(name, penalty, lambda penalty, net=net: paid(net, None, penalty))
    with attempt(f"{name}: share(step)"):
        shares = [float(penalty.share(step)) for step in (0, 1, 1000, LATE)]
    require(
        all(0 <= share <= 1 for share in shares) and shares[-1] == 1,
        f"{name}: share is {shares} at the steps 0, 1, 1000 and {LATE}: expected values from 0 to 1 that end at 1",
    )


def check_objective(objective: Objective, model: Autoencoder | None = None) -> None:
    """Check that an objective behaves as copyfold requires.

    It returns its terms by name: float32 scalars, also under bf16 mixed precision, averaged over the batch, whose
    sum has a gradient to the model. It writes scalars without a gradient into `watch`. It is a function of the
    images, the step and torch's seed, and changes neither the images nor, in eval mode, the model. What it doubts
    about images is a sentence or None. Its arguments are stored. AssertionError says in one line what is wrong.
    """
    name = class_name(objective, Objective)
    stores_arguments(objective)
    can_be_saved(objective)

    def ask(model: Autoencoder, x: Images | None = None, watch: Any = None, step: int | None = None) -> Any:
        objective.check(model)
        return objective(model, images(model.shape) if x is None else x, watch, step)

    with seeded():
        for net, _ in accepted(name, model, ask):
            x, watch = images(net.shape), {}
            given = x.clone()
            with untouched(net, name), attempt(f"{name} on {kind(net)}, at step 3"):
                first, again = (_with_seed(partial(ask, net, x, watch, 3)) for _ in range(2))
            named = isinstance(first, dict) and first and all(isinstance(key, str) for key in first)
            require(
                named, f"{name}: returns {shown(first)}: expected the terms of the loss by name, a dict of scalars"
            )
            require(same(x, given), f"{name}: changes the given images: work on a copy")
            said: Any = objective.doubt(x)
            spoken = said is None or isinstance(said, str)
            require(spoken, f"{name}: doubt returns {shown(said)}: expected a sentence, or None")
            for key, term in first.items():
                _is_a_scalar(name, f"the term {key}", term)
                alike = same(term.detach(), again[key].detach())
                require(
                    alike, f"{name}: the term {key} has two values for the same torch.manual_seed: draw with torch"
                )
            _is_a_loss(name, "the sum of the terms", torch.stack(list(first.values())).sum())
            for key, value in watch.items():
                _is_a_scalar(name, f"watch[{key!r}]", value)
                require(not value.requires_grad, f"{name}: watch[{key!r}] requires a gradient: detach it")
            _is_averaged(name, lambda images, net=net: torch.stack(list(ask(net, images).values())).sum(), x)
            with torch.autocast("cpu", torch.bfloat16), attempt(f"{name} under bf16 mixed precision"):
                halves = ask(net)
            for key, term in halves.items():
                _is_a_scalar(name, f"the term {key} under bf16 mixed precision", term)


# ---------------------------------------------------------------- checks of one term


def _is_a_scalar(name: str, what: str, value: Any) -> None:
    scalar = isinstance(value, Tensor) and value.shape == ()
    require(scalar, f"{name}: {what} is {shown(value)}: expected a scalar tensor, averaged over the batch")
    require(
        value.dtype == torch.float32,
        f"{name}: {what} is {value.dtype}: compute it in float32, from copyfold.models.base.flat(z) or from "
        "model.decode(z).float()",
    )
    require(value.isfinite(), f"{name}: {what} is NaN or infinite")


def _is_a_loss(name: str, what: str, value: Tensor) -> None:
    _is_a_scalar(name, what, value)
    require(value.requires_grad, f"{name}: {what} has no gradient: use no .item(), .detach() or no_grad")


def _is_a_batch_mean(name: str, what: str, loss: Callable[[Images], Tensor], x: Images) -> None:
    """A loss is a mean over the batch, and float32 also under bf16 mixed precision."""
    _is_averaged(name, loss, x)
    with torch.autocast("cpu", torch.bfloat16), attempt(f"{name} under bf16 mixed precision"):
        _is_a_loss(name, f"{what} under bf16 mixed precision", loss(x))


def _is_averaged(name: str, term: Callable[[Images], Tensor], x: Images) -> None:
    """The same images twice have the loss of the images once; roughly, and on average, if it is random."""
    twice = torch.cat((x, x))
    once, again = (_with_seed(partial(term, x), seed) for seed in (0, 1))
    if same(once.detach(), again.detach()):
        found, wanted = term(twice).detach(), once.detach()
        right = close(found, wanted, rtol=1e-3)
    else:
        found, wanted = (
            torch.stack([_with_seed(partial(term, y), seed).detach() for seed in range(DRAWS)]).mean()
            for y in (twice, x)
        )
        right = (found - wanted).abs() < 0.5 * wanted.abs()
    require(
        right,
        f"{name}: {len(x)} images have loss {wanted:.4g}, the same images twice {found:.4g}: average over the "
        "batch, as in .sum() / len(x)",
    )


def _is_of_pixels(name: str, fidelity: Fidelity, net: Autoencoder, x: Images) -> None:
    """The values of the pixels sum up to the loss, if it says them; missing pixels are left out, if it says so."""
    z = net.encode(x)
    if type(fidelity).pixels is not Fidelity.pixels:
        each, loss = fidelity.pixels(net, z, x)[0], fidelity(net, z, x)[0]
        total = each.sum() / len(x)
        require(
            close(total.detach(), loss.detach(), rtol=1e-4),
            f"{name}: its pixels sum up to {total:.4g} for an image, and the loss is {loss:.4g}: let `pixels` "
            "return the terms of the sum",
        )
    if fidelity.leaves_out:
        missing = x.clone()
        missing[:, :, 0, 0] = torch.nan
        require(
            bool(fidelity(net, z, missing)[0].isfinite()),
            f"{name}: says that it leaves missing pixels out, and the loss is NaN with one: leave out those that "
            "are NaN in x",
        )


def _with_seed(compute: Callable[[], Any], seed: int = 0) -> Any:
    """The result of a computation with this seed."""
    with seeded(seed):
        return compute()


def _changes_no_code(name: str, penalty: Penalty, net: Autoencoder) -> None:
    x = images(net.shape).requires_grad_()
    q = net.posterior(x)
    z = net.encode(x) if q is None else q.rsample()
    before = copied(z)
    with attempt(f"{name} on {kind(net)}"):
        penalty(net, x, z, q)
    require(same(copied(z), before), f"{name}: changes the code in place, before it is decoded: work on a copy")


def _reaches_the_encoder(name: str, net: Autoencoder, value: Tensor) -> None:
    parameters = [p for p in net.encoder.parameters() if p.requires_grad]
    found = [g for g in torch.autograd.grad(value, parameters, allow_unused=True) if g is not None]
    require(any(g.any() for g in found), f"{name}: has no gradient to the encoder: compute it from z, q or model")
    finite = all(g.isfinite().all() for g in found)
    require(finite, f"{name}: its gradient is NaN or infinite: keep divisions, roots and logarithms away from 0")


def _grows_with_its_weight(name: str, penalty: Penalty, paid: Callable[[Penalty], Tensor]) -> None:
    for weight in {"weight", "beta"} & catalogue.arguments(penalty).keys():
        once, thrice = (
            _with_seed(partial(paid, catalogue.changed(penalty, **{weight: w}))).detach() for w in (1.0, 3.0)
        )
        require(
            close(thrice, 3 * once),
            f"{name}: is {thrice:.4g} with {weight}=3, {once:.4g} with {weight}=1: multiply it by self.{weight}",
        )
