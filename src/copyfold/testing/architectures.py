"""Requirements of an architecture: training, codes and images, saving, and the receptive field."""

from copy import deepcopy
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold import catalogue
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm, receptive_field
from copyfold.models.checks import check_reloadable
from copyfold.models.storing import load
from copyfold.objectives.base import Classical, Objective
from copyfold.testing.demands import (
    attempt,
    can_be_saved,
    class_name,
    close,
    copied,
    first,
    images,
    maps,
    require,
    same,
    seeded,
    shown,
    size,
    stores_arguments,
    untouched,
)
from copyfold.types import Images, Statistics

BOTH: tuple[Statistics, ...] = ("batch", "running")
NUDGE = 0.02  # std of the noise added to weights that start at zero
WIDEST = 256  # pixels; receptive fields are only checked on images up to this side


def check_architecture(model: Autoencoder, objective: Objective | None = None) -> None:
    """Check that an architecture behaves as copyfold requires.

    - The constructor's arguments are stored, `output` and `statistics` have their effect, and a saved model is
      loaded exactly.
    - In eval mode encode and decode are deterministic; model(x) is D(E(x)), in x's shape and in either memory
      layout; neither the arguments nor the model are changed in place. The mean of a posterior is the code.
    - With running statistics an image's result does not depend on the other images. Batch norms record running
      averages in training.
    - Every trainable parameter gets a gradient from `objective` (plain reconstruction by default); under bf16
      mixed precision the loss is float32 and the gradients are finite.
    - `multiple`, `summary()` and the receptive field are correct.

    Use a small instance: everything is computed on copies, on the CPU. AssertionError says in one line what is
    wrong.
    """
    name, objective = class_name(model, Autoencoder), objective or Classical()
    with seeded():
        with attempt(name):
            check_reloadable(model)
        stores_arguments(model)
        can_be_saved(model)
        require(any(p.requires_grad for p in model.parameters()), f"{name}: has no weights that can be trained")
        with attempt(f"{name}: a copy of it (copy.deepcopy)"):
            model = deepcopy(model).cpu()
        x = images(model.shape)
        _has_gradients(deepcopy(model).train(), objective)
        _has_gradients_in_half_precision(deepcopy(model).train(), objective)
        _records_statistics(deepcopy(model).train(), x)
        with attempt(f"{name}: the model in training mode on {size(x)}"), torch.no_grad():
            for _ in range(3):  # so that running averages differ from their initial values
                model.train()(x)
        for check in (
            _encodes_and_decodes,
            _has_a_posterior,
            _respects_output,
            _respects_statistics,
            _is_not_changed_by_use,
            _treats_images_independently,
            _has_a_correct_summary,
            _accepts_channels_last,
            _accepts_other_sizes,
            _saves_and_loads,
        ):
            with torch.no_grad():
                check(deepcopy(model).eval(), x)
        _has_a_correct_receptive_field(model.eval())


# ---------------------------------------------------------------- training


def _has_gradients(model: Autoencoder, objective: Objective) -> None:
    """Every trainable parameter gets a gradient."""
    idle = _gradients(model, objective)
    if idle:  # weights at zero may block the gradient to others before the first step
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(NUDGE * torch.randn_like(parameter))
        idle = _gradients(model, objective)
    source = "reconstruction" if objective == Classical() else "objective"
    more = f" (and {len(idle) - 1} more)" if len(idle) > 1 else ""
    require(
        not idle,
        f"{type(model).__name__}: parameter {first(idle)}{more} gets no gradient from the {source}: use it in "
        "encode or decode, or freeze it with requires_grad_(False)",
    )


def _has_gradients_in_half_precision(model: Autoencoder, objective: Objective) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        _gradients(model, objective, " under bf16 mixed precision")


def _gradients(model: Autoencoder, objective: Objective, how: str = "") -> list[str]:
    """The parameters that get no gradient; also checks that loss and gradients are finite."""
    name = type(model).__name__
    model.zero_grad()
    with attempt(f"{name}: a step of training{how}"):
        objective.check(model)
        loss = torch.stack(list(objective(model, images(model.shape, 8)).values())).sum()
        loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    numbers = {"loss": loss.detach()} | {f"gradient of {n}": g for n, g in gradients.items() if g is not None}
    infinite = [what for what, value in numbers.items() if not value.isfinite().all()]
    require(
        not infinite,
        f"{name}: the {first(infinite)} is NaN or infinite{how}: keep divisions, roots and logarithms away from 0 "
        "and in float32",
    )
    require(loss.dtype == torch.float32, f"{name}: the loss is {loss.dtype}{how}: give images of float32")
    return [n for n, gradient in gradients.items() if gradient is None or not gradient.any()]


def _records_statistics(model: Autoencoder, x: Images) -> None:
    """Batch norms record running averages in training, whichever statistics they use."""
    for statistics in BOTH:
        with model.using(statistics), torch.no_grad():
            before = {n: norm.get_buffer("running_var").clone() for n, norm in _norms(model)}
            model(x)
        idle = [n for n, norm in _norms(model) if same(norm.get_buffer("running_var"), before[n])]
        require(
            not idle,
            f"{type(model).__name__}: the batch norm {first(idle)} records no running averages in training "
            "mode: train() must reach it, and its `recording` must be True",
        )


def _norms(model: Autoencoder) -> list[tuple[str, BatchNorm]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, BatchNorm)]


# ---------------------------------------------------------------- codes and images


def _encodes_and_decodes(model: Autoencoder, x: Images) -> None:
    """model(x) is D(E(x)), and encode and decode are deterministic."""
    name, given = type(model).__name__, x.clone()
    advice = "use no inplace=True in the first layer, and nothing like x += 1"
    with attempt(f"{name}: encode of {size(x)}"):
        z, again = model.encode(x), model.encode(x)
    rows = all(isinstance(m, Tensor) and m.is_floating_point() and m.shape[:1] == x.shape[:1] for m in maps(z))
    require(rows, f"{name}: encode must return a float tensor with a row per image, or a tuple of such tensors")
    require(same(x, given), f"{name}: encode changes the given images: {advice}")
    require(
        same(z, again),
        f"{name}: encode returns another code for the same images in eval mode: return the mean, and "
        "sample in posterior",
    )
    kept = copied(z)
    with attempt(f"{name}: decode of the code of {size(x)}"):
        y, other = model.decode(z), model.decode(z)
    require(same(z, kept), f"{name}: decode changes the given code: {advice}")
    shaped = isinstance(y, Tensor) and y.shape == x.shape
    require(shaped, f"{name}: decode returns {shown(y)} for the code of {size(x)}: expected images of that shape")
    require(y.isfinite().all(), f"{name}: decode returns NaN or infinite values in eval mode")
    require(
        same(y, other),
        f"{name}: decode returns other images for the same code in eval mode: make it deterministic",
    )
    with attempt(f"{name}: the model on {size(x)}"):
        whole = model(x)
    require(
        same(whole, y),
        f"{name}: model(x) is not decode(encode(x)): do not override forward of copyfold.Autoencoder",
    )


def _has_a_posterior(model: Autoencoder, x: Images) -> None:
    """A stochastic model has a normal posterior whose mean is the code; samples have the shape of the code."""
    name, z = type(model).__name__, model.encode(x)
    with attempt(f"{name}: posterior and draw of {size(x)}"):
        q, drawn = model.posterior(x), model.draw(x)
    expected, found = ([tuple(m.shape) for m in maps(code)] for code in (z, drawn))
    require(found == expected, f"{name}: draw returns {found}: expected the shapes of encode, {expected}")
    if not model.stochastic:
        require(
            q is None, f"{name}: has a posterior, but stochastic is False: write stochastic = True in the class"
        )
        return
    if not (isinstance(q, Normal) and isinstance(z, Tensor) and q.mean.shape == z.shape):
        raise AssertionError(
            f"{name}: is stochastic, but posterior returns {shown(q)}: expected a torch.distributions.Normal of "
            "the code's shape"
        )
    require(
        same(q.mean, z), f"{name}: encode is not the mean of the posterior: return self.posterior(x).mean in it"
    )
    require(
        (q.stddev > 0).all(),
        f"{name}: the posterior has a std of 0 or less: compute it as the exponential of a layer",
    )
    require(
        not same(drawn, z),
        f"{name}: draw returns the mean of the posterior: do not override draw of copyfold.Autoencoder",
    )


def _respects_output(model: Autoencoder, x: Images) -> None:
    """Decoded images are the logits or their sigmoid, as `output` says; both, if it is an argument."""
    name, choice = type(model).__name__, "output" in catalogue.arguments(model)
    for output in ("linear", "sigmoid") if choice else (model.output,):
        made = catalogue.changed(model, output=output).eval() if choice else model
        require(
            made.output == output,
            f"{name}: output={output!r} is not used: write super().__init__(shape, output) in its constructor",
        )
        with attempt(f"{name}: logits with output={output!r}"):
            z = made.encode(x)
            logits, y = made.logits(z), made.decode(z)
        expected, what = (logits, "logits(z)") if output == "linear" else (logits.sigmoid(), "sigmoid(logits(z))")
        require(
            close(y, expected),
            f"{name}: with output={output!r} decode(z) is not {what}: define logits, and do not override "
            "decode of copyfold.Autoencoder",
        )


def _respects_statistics(model: Autoencoder, _x: Images) -> None:
    """`statistics` reaches every batch norm, in the constructor and later."""
    name, choice = type(model).__name__, "statistics" in catalogue.arguments(model)
    for statistics in BOTH:
        with model.using(statistics):
            unset = [n for n, norm in _norms(model) if norm.statistics != statistics]
        require(
            not unset, f"{name}: model.statistics = {statistics!r} does not reach the batch norm {first(unset)}"
        )
        made = catalogue.changed(model, statistics=statistics) if choice else None
        require(
            made is None
            or (made.statistics == statistics and all(norm.statistics == statistics for _, norm in _norms(made))),
            f"{name}: statistics={statistics!r} is not used: write self.statistics = statistics at the end of its "
            "constructor, after all layers are created",
        )


def _is_not_changed_by_use(model: Autoencoder, x: Images) -> None:
    """In eval mode using the model does not change it."""
    for statistics in BOTH:
        with model.using(statistics), untouched(model, f"{type(model).__name__}: in eval mode model(x)"):
            model.posterior(x)
            model(x)


def _treats_images_independently(model: Autoencoder, x: Images) -> None:
    """With running statistics an image's result does not depend on the other images of its batch."""
    name = type(model).__name__
    with model.using("running"), attempt(f"{name}: one image alone, with running statistics"):
        apart = close(model(x)[:1], model(x[:1]))
    require(
        apart,
        f"{name}: an image's result depends on the other images of its batch, in eval mode with running "
        "statistics: use copyfold.models.blocks.BatchNorm, or a norm of each image alone",
    )


def _has_a_correct_summary(model: Autoencoder, x: Images) -> None:
    """The summary counts parameters, inputs and code correctly."""
    name, z = type(model).__name__, model.encode(x)
    with attempt(f"{name}: summary()"):
        found = model.summary()
    counted = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "input_size": x[0].numel(),
        "code_size": sum(m[0].numel() for m in maps(z)),
    }
    for what, count in counted.items():
        says = getattr(found, what)
        require(
            says == count,
            f"{name}: summary() says {what}={says}: expected {count}; do not override it",
        )


def _accepts_channels_last(model: Autoencoder, x: Images) -> None:
    """Images and convolutional models may have channels-last memory."""
    name, last = type(model).__name__, x.contiguous(memory_format=torch.channels_last)
    advice = "images may be channels-last: use flatten or reshape in place of view"
    with model.using("running"), attempt(f"{name}: channels-last images", advice):
        expected, found = model(x), model(last)
        moved = model.to(memory_format=torch.channels_last)(last)  # type: ignore[call-overload]
    right = close(found, expected, atol=1e-4) and close(moved, expected, atol=1e-4)
    require(right, f"{name}: channels-last images give another result: {advice}")


def _accepts_other_sizes(model: Autoencoder, _x: Images) -> None:
    """Images of other sizes are accepted if `multiple` says so: multiples of it, and others by padding."""
    name, multiple = type(model).__name__, model.multiple
    if multiple is None:
        return
    advice = f"multiple={multiple} allows any sides that are multiples of it; set None if shape fixes the size"
    for sides in ((3 * multiple, 5 * multiple), (3 * multiple + 1, 5 * multiple - 1), model.inner_shape[1:]):
        other = images((model.shape[0], *sides), 2)
        with attempt(f"{name}: {size(other)}", advice):
            y = model(other)
        require(y.shape == other.shape, f"{name}: returns {size(y)} for {size(other)}: {advice}")


def _saves_and_loads(model: Autoencoder, x: Images) -> None:
    """A saved model is loaded exactly."""
    name = type(model).__name__
    with model.using("running"):
        expected = model(x)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with TemporaryDirectory() as folder, attempt(f"{name}: saving and loading"):
        model.save(folder)
        loaded = load(folder)
    alike = type(loaded) is type(model)
    require(alike, f"{name}: is loaded as another class of that name: rename one of them")
    tensors = loaded.state_dict()
    other = [n for n, tensor in model.state_dict().items() if not same(tensor, tensors[n])]
    require(not other, f"{name}: {first(other)} has other values after loading than were saved")
    with loaded.using("running"):
        alike = close(loaded(x), expected, rtol=1e-5, atol=1e-6)
    require(
        alike,
        f"{name}: returns other images after loading: everything that it computes with must be a parameter, a "
        "buffer (register_buffer) or an argument",
    )


# ---------------------------------------------------------------- the receptive field


def _has_a_correct_receptive_field(model: Autoencoder) -> None:
    """The receptive field of `summary` and of the tiles of `restore` covers the gradient of an output pixel.

    Not checked with norms over an image, which make every pixel depend on all others and are not counted.
    """
    field, multiple = receptive_field(model.modules()), model.multiple
    if field is None or any(
        isinstance(m, nn.GroupNorm | nn.LayerNorm | nn.InstanceNorm2d) for m in model.modules()
    ):
        return
    sides = model.shape[1:] if multiple is None else ((field // multiple + 3) * multiple,) * 2
    if field >= max(sides) or max(sides) > WIDEST:
        return
    found = reach(model, *sides, count=2)
    require(
        found <= field,
        f"{type(model).__name__}: a pixel of the output depends on {found} pixels along an axis, but its layers "
        f"give {field}: define layers in the order in which x passes through them, and derive a module that sees "
        "the whole image from copyfold.models.blocks.SeesAll",
    )


def reach(model: Autoencoder, height: int, width: int, count: int = 8) -> int:
    """The most pixels along an axis with a gradient to a pixel in the middle of the output.

    Measured over `count` random images together: for a single image a ReLU may hide some.
    """
    spans = [0]
    with model.using("running"):
        for k in range(-2, 2):
            row, column = (min(max(side // 2 + k, 0), side - 1) for side in (height, width))
            x = images((model.shape[0], height, width), count).requires_grad_()
            (gradient,) = torch.autograd.grad(model(x)[:, :, row, column].sum(), x)
            seen = gradient.abs().sum((0, 1))
            for hit in (seen.sum(0).nonzero(), seen.sum(1).nonzero()):
                spans += [int(hit.max() - hit.min()) + 1] if len(hit) else []
    return max(spans)
