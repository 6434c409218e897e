"""What an architecture owes to objectives, samplers, probes and disks."""

from copy import deepcopy
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold import catalogue
from copyfold.models.base import Autoencoder, check_reloadable, load
from copyfold.models.blocks import BatchNorm, receptive_field
from copyfold.objectives.base import Classical, Objective
from copyfold.testing.demands import (
    asked,
    close,
    copied,
    first,
    images,
    instance,
    maps,
    require,
    same,
    seeded,
    shown,
    size,
    stored,
    untouched,
    written,
)
from copyfold.types import Images, Statistics

BOTH: tuple[Statistics, ...] = ("batch", "running")
NUDGE = 0.02  # std of what is added to weights that start at zero
WIDEST = 256  # the longest side of an image on which a receptive field is looked at


def check_architecture(model: Autoencoder, objective: Objective | None = None) -> None:
    """Demand of an architecture what copyfold relies on.

    - The constructor's arguments are stored, `output` and `statistics` do what they say, and what is saved is
      loaded exactly.
    - In eval mode the code is a function of the images, and the images of the code; D(E(x)) is the model, in x's
      shape and in either memory layout; nothing given is changed in place, and nothing in the model. A posterior
      has the code as its mean.
    - With running statistics no image's result depends on the others. Batch norms record in training.
    - Every parameter that can be trained gets a gradient from `objective` (plain reconstruction unless given);
      under bf16 mixed precision the loss is float32 and the gradients are finite.
    - `multiple`, `summary()` and the receptive field say what is the case.

    Give a small instance: all is computed in copies, on the CPU. AssertionError says in one line what is wrong.
    """
    name, objective = instance(model, Autoencoder), objective or Classical()
    with seeded():
        with asked(name):
            check_reloadable(model)
        stored(model)
        written(model)
        require(any(p.requires_grad for p in model.parameters()), f"{name}: has no weights that can be trained")
        with asked(f"{name}: a copy of it (copy.deepcopy)"):
            model = deepcopy(model).cpu()
        x = images(model.shape)
        _learns(deepcopy(model).train(), objective)
        _learns_in_half_precision(deepcopy(model).train(), objective)
        _records(deepcopy(model).train(), x)
        with asked(f"{name}: the model in training mode on {size(x)}"), torch.no_grad():
            for _ in range(3):  # so that averages are no longer those that it began with
                model.train()(x)
        for demand in (
            _copies,
            _has_a_posterior,
            _obeys_output,
            _obeys_statistics,
            _stays_as_it_is,
            _keeps_images_apart,
            _counts_right,
            _takes_either_layout,
            _takes_other_sizes,
            _is_saved,
        ):
            with torch.no_grad():
                demand(deepcopy(model).eval(), x)
        _sees_no_farther_than_it_says(model.eval())


# ---------------------------------------------------------------- training


def _learns(model: Autoencoder, objective: Objective) -> None:
    """Every parameter that can be trained gets a gradient."""
    idle = _gradients(model, objective)
    if idle:  # what starts at zero may keep the gradient from others until the first step
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


def _learns_in_half_precision(model: Autoencoder, objective: Objective) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        _gradients(model, objective, " under bf16 mixed precision")


def _gradients(model: Autoencoder, objective: Objective, how: str = "") -> list[str]:
    """The parameters that get no gradient; demands that loss and gradients are finite."""
    name = type(model).__name__
    model.zero_grad()
    with asked(f"{name}: a step of training{how}"):
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


def _records(model: Autoencoder, x: Images) -> None:
    """Batch norms record their averages in training, whichever statistics are used."""
    for statistics in BOTH:
        with model.using(statistics), torch.no_grad():
            before = {n: norm.get_buffer("running_mean").clone() for n, norm in _norms(model)}
            model(x)
        idle = [n for n, norm in _norms(model) if same(norm.get_buffer("running_mean"), before[n])]
        require(
            not idle,
            f"{type(model).__name__}: the batch norm {first(idle)} records no averages in training mode: let "
            "train() reach it, and its `recording` be True",
        )


def _norms(model: Autoencoder) -> list[tuple[str, BatchNorm]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, BatchNorm)]


# ---------------------------------------------------------------- codes and images


def _copies(model: Autoencoder, x: Images) -> None:
    """Decoding the code is the model, and both ways are functions."""
    name, given = type(model).__name__, x.clone()
    advice = "use no inplace=True in the first layer, and nothing like x += 1"
    with asked(f"{name}: encode of {size(x)}"):
        z, again = model.encode(x), model.encode(x)
    rows = all(isinstance(m, Tensor) and m.is_floating_point() and m.shape[:1] == x.shape[:1] for m in maps(z))
    require(rows, f"{name}: encode must give a float tensor with a row per image, or a tuple of such tensors")
    require(same(x, given), f"{name}: encode changes the images that it is given: {advice}")
    require(
        same(z, again),
        f"{name}: encode gives another code for the same images in eval mode: let it give the mean, and draw in "
        "posterior",
    )
    kept = copied(z)
    with asked(f"{name}: decode of the code of {size(x)}"):
        y, other = model.decode(z), model.decode(z)
    require(same(z, kept), f"{name}: decode changes the code that it is given: {advice}")
    shaped = isinstance(y, Tensor) and y.shape == x.shape
    require(shaped, f"{name}: decode gives {shown(y)} for the code of {size(x)}: expected images of that shape")
    require(y.isfinite().all(), f"{name}: decode gives NaN or infinite values in eval mode")
    require(
        same(y, other), f"{name}: decode gives other images for the same code in eval mode: draw nothing in it"
    )
    with asked(f"{name}: the model on {size(x)}"):
        whole = model(x)
    require(same(whole, y), f"{name}: model(x) is not decode(encode(x)): leave forward to copyfold.Autoencoder")


def _has_a_posterior(model: Autoencoder, x: Images) -> None:
    """Where it is stochastic, a normal distribution around the code; and what is drawn is a code."""
    name, z = type(model).__name__, model.encode(x)
    with asked(f"{name}: posterior and draw of {size(x)}"):
        q, drawn = model.posterior(x), model.draw(x)
    expected, found = ([tuple(m.shape) for m in maps(code)] for code in (z, drawn))
    require(found == expected, f"{name}: draw gives {found}: expected the shapes of encode, {expected}")
    if not model.stochastic:
        require(
            q is None, f"{name}: has a posterior, and stochastic is False: write stochastic = True in the class"
        )
        return
    if not (isinstance(q, Normal) and isinstance(z, Tensor) and q.mean.shape == z.shape):
        raise AssertionError(
            f"{name}: is stochastic, and posterior gives {shown(q)}: expected a torch.distributions.Normal of the "
            "code's shape"
        )
    require(
        same(q.mean, z), f"{name}: encode is not the mean of the posterior: return self.posterior(x).mean in it"
    )
    require(
        (q.stddev > 0).all(), f"{name}: the posterior has a std of 0 or less: make it the exponential of a layer"
    )
    require(
        not same(drawn, z), f"{name}: draw gives the mean of the posterior: leave draw to copyfold.Autoencoder"
    )


def _obeys_output(model: Autoencoder, x: Images) -> None:
    """Images are the sigmoid of the logits, or the logits; where it can be chosen, both."""
    name, choice = type(model).__name__, "output" in catalogue.arguments(model)
    for output in ("linear", "sigmoid") if choice else (model.output,):
        made = catalogue.changed(model, output=output).eval() if choice else model
        require(
            made.output == output,
            f"{name}: output={output!r} is not used: write super().__init__(shape, output) in its constructor",
        )
        with asked(f"{name}: logits with output={output!r}"):
            z = made.encode(x)
            logits, y = made.logits(z), made.decode(z)
        expected, what = (logits, "logits(z)") if output == "linear" else (logits.sigmoid(), "sigmoid(logits(z))")
        require(
            close(y, expected),
            f"{name}: with output={output!r} decode(z) is not {what}: define logits, and leave decode to "
            "copyfold.Autoencoder",
        )


def _obeys_statistics(model: Autoencoder, x: Images) -> None:
    """Whose averages are used reaches every batch norm, from the constructor and later."""
    name, choice = type(model).__name__, "statistics" in catalogue.arguments(model)
    for statistics in BOTH:
        with model.using(statistics):
            deaf = [n for n, norm in _norms(model) if norm.statistics != statistics]
        require(not deaf, f"{name}: model.statistics = {statistics!r} does not reach the batch norm {first(deaf)}")
        made = catalogue.changed(model, statistics=statistics) if choice else None
        require(
            made is None
            or (made.statistics == statistics and all(norm.statistics == statistics for _, norm in _norms(made))),
            f"{name}: statistics={statistics!r} is not used: write self.statistics = statistics at the end of its "
            "constructor, when all layers are made",
        )


def _stays_as_it_is(model: Autoencoder, x: Images) -> None:
    """In eval mode nothing in it is changed by its use."""
    for statistics in BOTH:
        with model.using(statistics), untouched(model, f"{type(model).__name__}: in eval mode model(x)"):
            model.posterior(x)
            model(x)


def _keeps_images_apart(model: Autoencoder, x: Images) -> None:
    """With running statistics an image's result is its own."""
    name = type(model).__name__
    with model.using("running"), asked(f"{name}: one image alone, with running statistics"):
        apart = close(model(x)[:1], model(x[:1]))
    require(
        apart,
        f"{name}: an image's result depends on the others of its batch, in eval mode with running statistics: use "
        "copyfold.models.blocks.BatchNorm, or a norm of each image",
    )


def _counts_right(model: Autoencoder, x: Images) -> None:
    """The summary says how many numbers there are."""
    name, z = type(model).__name__, model.encode(x)
    with asked(f"{name}: summary()"):
        found = model.summary()
    counted = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "input_size": x[0].numel(),
        "code_size": sum(m[0].numel() for m in maps(z)),
    }
    for what, count in counted.items():
        says = getattr(found, what)
        require(says == count, f"{name}: summary() says {what}={says}: there are {count}; leave it to Autoencoder")


def _takes_either_layout(model: Autoencoder, x: Images) -> None:
    """Images are read channels last, and models with convolutions trained so."""
    name, last = type(model).__name__, x.contiguous(memory_format=torch.channels_last)
    advice = "images come channels last, too: use flatten and reshape where it says view"
    with model.using("running"), asked(f"{name}: channels-last images", advice):
        expected, found = model(x), model(last)
        moved = model.to(memory_format=torch.channels_last)(last)  # type: ignore[call-overload]
    right = close(found, expected, atol=1e-4) and close(moved, expected, atol=1e-4)
    require(right, f"{name}: channels-last images give another result: {advice}")


def _takes_other_sizes(model: Autoencoder, x: Images) -> None:
    """Where `multiple` says so."""
    name, multiple = type(model).__name__, model.multiple
    if multiple is None:
        return
    advice = f"multiple={multiple} says that sides may be any multiples of it; set None where shape fixes the size"
    other = images((model.shape[0], 3 * multiple, 5 * multiple), 2)
    with asked(f"{name}: {size(other)}", advice):
        y = model(other)
    require(y.shape == other.shape, f"{name}: gives {size(y)} for {size(other)}: {advice}")


def _is_saved(model: Autoencoder, x: Images) -> None:
    """What was saved is loaded exactly."""
    name = type(model).__name__
    with model.using("running"):
        expected = model(x)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with TemporaryDirectory() as folder, asked(f"{name}: to save and load it"):
        model.save(folder)
        loaded = load(folder)
    alike = type(loaded) is type(model)
    require(alike, f"{name}: is loaded as another class of that name: give one of them another name")
    tensors = loaded.state_dict()
    other = [n for n, tensor in model.state_dict().items() if not same(tensor, tensors[n])]
    require(not other, f"{name}: {first(other)} is loaded with other numbers than were saved")
    with loaded.using("running"):
        alike = close(loaded(x), expected, rtol=1e-5, atol=1e-6)
    require(
        alike,
        f"{name}: gives other images once it is loaded: make all that it computes with a parameter, a buffer "
        "(register_buffer) or an argument",
    )


# ---------------------------------------------------------------- the receptive field


def _sees_no_farther_than_it_says(model: Autoencoder) -> None:
    """What `summary` says and the tiles of `restore` go by: where the gradient of a pixel of the output ends.

    Not asked where norms take statistics of an image, which tie all of it together and are not counted.
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
        f"{type(model).__name__}: a pixel of the output depends on {found} pixels along an axis, its layers say "
        f"{field}: make them in the order in which x comes through, and derive a module that sees farther from "
        "copyfold.models.blocks.SeesAll",
    )


def reach(model: Autoencoder, height: int, width: int, count: int = 8) -> int:
    """On how many pixels along an axis, at most, a pixel in the middle of the output depends by its gradient.

    Of `count` random images together: in one alone a ReLU may hide some.
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
