"""Laws for every class of the catalogue: a new class is tested the moment its file exists.

What `copyfold.testing` demands of anyone's class, and after it what we ask of our own beyond that.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold import catalogue
from copyfold.corruptions import Corruption
from copyfold.detection.base import Score
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import receptive_field
from copyfold.models.unet import Middle
from copyfold.objectives.base import Classical, Objective, Penalty
from copyfold.objectives.fidelities import Fidelity
from copyfold.probes.base import Probe
from copyfold.probes.baselines import Baseline
from copyfold.problems.base import Problem
from copyfold.samplers.base import Sampler
from copyfold.samplers.renoising import Schedule
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
)
from copyfold.testing.architectures import reach
from copyfold.training.optimizers import Optimizer

BASES = (
    Autoencoder,
    Middle,
    Corruption,
    Fidelity,
    Objective,
    Penalty,
    Sampler,
    Schedule,
    Probe,
    Baseline,
    Problem,
    Score,
)


def classes(base: type) -> list[type]:
    return list(catalogue.classes(base).values())


MODELS = classes(Autoencoder)
# made of a model, whose shape and output they have
WRAPPERS = [c for c in MODELS if "core" in inspect.signature(c).parameters]
SHAPED = [c for c in MODELS if c not in WRAPPERS]
WITH_STATISTICS = [c for c in MODELS if c.tiny().has_statistics]
OTHERS = [c for c in MODELS if c not in WITH_STATISTICS]
# made without an argument; an architecture needs a shape, a baseline what it was fitted to
CONFIGURED = [c for base in BASES if base not in (Autoencoder, Baseline) for c in classes(base)]


def images(model: Autoencoder, count: int = 4) -> torch.Tensor:
    return torch.rand(count, *model.shape, generator=Generator().manual_seed(1))


def maps(code: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return code if isinstance(code, tuple) else (code,)


def small(cls: type, **given: object) -> object:
    """With those of these arguments that it has."""
    return cls(**{name: value for name, value in given.items() if name in cls.__dataclass_fields__})


@cache
def ready(cls: type[Autoencoder] | None) -> Autoencoder:
    """A tiny model with averages that were recorded, or a U-Net whose code is a tuple of maps; in eval mode.

    One for all tests, which leave it as it is.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = cls.tiny() if cls else cf.UNet((3, 16, 16), width=4, depth=2, skips="concat")
        for _ in range(30):
            model.train()(images(model, 16))
    return model.eval()


def bounded(cls: type[Autoencoder]) -> Autoencoder:
    """A tiny model whose output is within (0, 1)."""
    tiny = cls.tiny()
    given = {k: getattr(tiny, k) for k in tiny.config}
    if cls in WRAPPERS:
        return cls(**given | {"core": bounded(type(tiny.core))})
    return cls(**given | {"output": "sigmoid"})


def of_sides(cls: type[Autoencoder], sides: tuple[int, int]) -> Autoencoder:
    """A tiny model for images of another height and width."""
    tiny = cls.tiny()
    given = {k: getattr(tiny, k) for k in tiny.config}
    if cls in WRAPPERS:
        return cls(**given | {"core": of_sides(type(tiny.core), sides)})
    return cls(**given | {"shape": (tiny.shape[0], *sides)})


# ---------------------------------------------------------------- what is demanded of anyone's class


@pytest.mark.parametrize("cls", MODELS)
def test_every_architecture_passes_check_architecture(cls):
    check_architecture(cls.tiny())


@pytest.mark.parametrize("cls", classes(Middle))
def test_every_middle_passes_check_middle(cls):
    check_middle(small(cls, channels=4, hidden=8, latent_dim=4))


@pytest.mark.parametrize("cls", classes(Corruption))
def test_every_corruption_passes_check_corruption(cls):
    check_corruption(cls())
    check_corruption(cls(), torch.rand(2, 1, 5, 7))


@pytest.mark.parametrize("cls", classes(Fidelity))
def test_every_fidelity_passes_check_fidelity(cls):
    check_fidelity(cls())


@pytest.mark.parametrize("cls", classes(Penalty))
def test_every_penalty_passes_check_penalty(cls):
    check_penalty(cls())


@pytest.mark.parametrize("cls", classes(Objective))
def test_every_objective_passes_check_objective(cls):
    check_objective(cls())


@pytest.mark.parametrize("cls", classes(Sampler))
@pytest.mark.parametrize("model", [*MODELS, None])
def test_every_sampler_passes_check_sampler_with_every_architecture(cls, model):
    net = ready(model)
    check_sampler(small(cls, steps=3, reference=images(net, 16)), net, images(net, 2))


@pytest.mark.parametrize("cls", classes(Optimizer))
def test_every_optimizer_passes_check_optimizer(cls):
    check_optimizer(cls())


@pytest.mark.parametrize("cls", classes(Schedule))
def test_every_schedule_passes_check_schedule(cls):
    check_schedule(cls())


def refused(check: Callable[..., None], *given: object) -> str | None:
    """What is said instead of taking the model, where it is not taken."""
    try:
        check(*given)
    except AssertionError as error:
        if isinstance(error.__cause__, cf.UsageError):
            return str(error.__cause__)
        raise
    return None


@pytest.mark.parametrize("cls", classes(Probe))
def test_every_probe_passes_check_probe(cls):
    net = ready(cf.Variational)
    check_probe(small(cls, steps=3, iterations=2, std=0.1, reference=images(net, 24)), net)


@pytest.mark.parametrize("cls", classes(Probe))
@pytest.mark.parametrize("model", MODELS)
def test_a_probe_accepts_every_architecture_or_refuses_with_a_reason(cls, model):
    said = refused(check_probe, small(cls, steps=3, iterations=2, std=0.1), ready(model), images(ready(model)))
    assert said is None or "wrap" in said or "give" in said


@pytest.mark.parametrize("cls", classes(Problem))
@pytest.mark.parametrize("shape", [(4, 3, 16, 12), (2, 1, 8, 20)])
def test_every_problem_passes_check_problem(cls, shape):
    rng = Generator().manual_seed(0)
    check_problem(small(cls, mask=torch.rand(shape[2:], generator=rng) < 0.5), torch.rand(shape, generator=rng))


@pytest.mark.parametrize("cls", classes(Baseline))
def test_every_baseline_passes_check_baseline(cls):
    clean = torch.rand(8, 3, 16, 12, generator=Generator().manual_seed(0))
    check_baseline(cls.tuned(cf.Gaussian(0.1)(clean, Generator()), clean, 0.1), clean)


# ---------------------------------------------------------------- every class of our own


@pytest.mark.parametrize("base", BASES)
def test_the_catalogue_finds_every_family(base):
    assert catalogue.classes(base)


@pytest.mark.parametrize("cls", [*MODELS, *CONFIGURED, *classes(Baseline)])
def test_every_class_has_a_docstring_with_a_short_first_line(cls):
    first = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
    assert 10 < len(first) <= 80
    assert first.endswith((".", ":"))


@pytest.mark.parametrize("cls", [*MODELS, *CONFIGURED])
def test_a_class_is_found_by_its_name(cls):
    assert getattr(cf, cls.__name__) is cls
    assert cls.__name__ in dir(cf)


@pytest.mark.parametrize("cls", CONFIGURED)
def test_a_configuration_is_frozen_plain_data_and_rebuilds_the_object(cls):
    made = cls()
    described = catalogue.describe(made)
    base = next(base for base in BASES if issubclass(cls, base))
    assert described["class_path"] == cls.__name__
    if not any(isinstance(v, dict) for v in described.get("init_args", {}).values()):
        assert catalogue.build(base, described) == made
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)


# ---------------------------------------------------------------- scores of our own


@pytest.mark.parametrize("cls", classes(Score))
@pytest.mark.parametrize("model", [cf.Conv, cf.MLP, cf.Variational, None])
def test_every_score_is_a_function_of_one_image(cls, model):
    """One number for every image, and a map or none, whatever else is scored, with pixels missing too.

    The model and the images stay as they are.
    """
    net, score = ready(model), cls()
    normal, x = images(net, 24), torch.rand(5, *net.shape, generator=Generator().manual_seed(9))
    x[0, :, :2] = torch.nan
    before, given = {k: v.clone() for k, v in net.state_dict().items()}, x.clone()
    with net.using("running"):
        detect = score(net, normal)
        found, alone = detect(x), detect(x[2:3])
        again = score(net, normal)(x)
    assert found.scores.shape == (5,)
    assert found.scores.isfinite().all()
    assert torch.equal(found.scores, again.scores)
    torch.testing.assert_close(found.scores[2:3], alone.scores, rtol=1e-3, atol=1e-4)
    if found.maps is not None:
        assert found.maps.shape == (5, *net.shape[1:])
        assert found.maps.isfinite().all()
    assert not found.scores.requires_grad
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(x.nan_to_num(-1), given.nan_to_num(-1))


# ---------------------------------------------------------------- architectures of our own


@pytest.mark.parametrize("cls", MODELS)
def test_arguments_are_stored_under_their_names(cls):
    model = cls.tiny()
    assert set(model.config) == set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert cls(**{k: getattr(model, k) for k in model.config}).config == model.config


@pytest.mark.parametrize("cls", MODELS)
def test_a_saved_model_is_loaded_in_float32_and_eval_mode_with_its_statistics(cls, tmp_path):
    model = cls.tiny()
    model.statistics = "running"
    model.save(tmp_path)
    loaded = cf.load(tmp_path)
    assert loaded.config == model.config
    assert loaded.statistics == "running"
    assert not loaded.training
    assert {k: v.dtype for k, v in loaded.state_dict().items()} == dict.fromkeys(model.state_dict(), torch.float32)
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("cls", MODELS)
def test_save_pretrained_of_the_hub_saves_the_same_model(cls, tmp_path):
    model = ready(cls)
    model.save_pretrained(tmp_path)
    again = Autoencoder.from_pretrained(str(tmp_path))
    assert torch.equal(again(images(model)), model(images(model)))


@pytest.mark.parametrize("cls", WITH_STATISTICS)
def test_results_depend_on_the_batch_with_batch_statistics_and_not_with_running_ones(cls):
    model = ready(cls)
    x = images(model, 8)
    with model.using("running"):
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
    with model.using("batch"):
        assert (model(x)[:2] - model(x[:2])).abs().max() > 1e-4


@pytest.mark.parametrize("cls", WITH_STATISTICS)
def test_both_statistics_are_recorded_in_training(cls):
    for statistics in ("batch", "running"):
        model = cls.tiny().train()
        model.statistics = statistics
        before = [b.clone() for b in model.buffers()]
        model(images(model)).sum().backward()
        assert all(not torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


@pytest.mark.parametrize("cls", OTHERS)
def test_a_model_without_statistics_has_no_buffers_and_treats_images_independently(cls):
    model = ready(cls)
    assert not list(model.buffers())
    x = images(model, 8)
    torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", MODELS)
def test_receptive_fields_agree_with_the_gradient(cls):
    """On a large image where one is taken. That none is too small is demanded of anyone's class, too."""
    model = ready(cls)
    side = model.shape[1] if model.multiple is None else model.multiple * 16
    field = min(receptive_field(model.modules()) or side, side)
    assert 0.7 * field <= reach(model, side, side) <= field


@pytest.mark.parametrize("sides", [(13, 22), (31, 5), (64, 33)])
@pytest.mark.parametrize("cls", MODELS)
def test_any_height_and_width_is_taken(cls, sides):
    """As the images are, or padded by repeating the last row and column, and cropped back."""
    model = of_sides(cls, sides).eval()
    height, width = model.inner_shape[1:]
    x = images(model, 3)
    y = model.decode(model.encode(x))
    assert y.shape == x.shape
    assert torch.equal(model(x), y)
    larger = of_sides(cls, (height, width)).eval()
    larger.load_state_dict(model.state_dict())
    rows, columns = torch.arange(height).clamp(max=sides[0] - 1), torch.arange(width).clamp(max=sides[1] - 1)
    by_hand = x[:, :, rows][..., columns]
    for code, expected in zip(maps(model.encode(x)), maps(larger.encode(by_hand)), strict=True):
        assert torch.equal(code, expected)
    expected = larger(by_hand)[..., : sides[0], : sides[1]]
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)  # a sigmoid rounds by how memory lies


@pytest.mark.parametrize("cls", MODELS)
def test_a_summary_names_the_kind_of_model(cls):
    summary = ready(cls).summary()
    overcomplete = sum(m[0].numel() for m in maps(ready(cls).encode(images(ready(cls))))) >= summary.input_size
    assert summary.kind == ("overcomplete" if overcomplete else "undercomplete")
    assert summary.kind in str(summary)


@pytest.mark.parametrize("cls", SHAPED)
@pytest.mark.parametrize("shape", [(0, 16, 16), (3, -1, 16), (3, 16)])
def test_invalid_shapes_are_refused(cls, shape):
    with pytest.raises(cf.UsageError):
        cls(shape)


@pytest.mark.parametrize("cls", SHAPED)
def test_an_unknown_choice_is_refused_with_the_valid_ones(cls):
    shape = cls.tiny().shape
    with pytest.raises(cf.UsageError, match="linear, sigmoid"):
        cls(shape, output="tanh")


@pytest.mark.parametrize("cls", MODELS)
def test_a_sigmoid_output_stays_within_its_bounds(cls):
    model = bounded(cls)
    z = model.encode(images(model))
    assert torch.equal(model.decode(z), torch.sigmoid(model.logits(z)))


# ---------------------------------------------------------------- every objective with every architecture


def logistic() -> Autoencoder:
    """A model with a code within [0, 1], which none of the tiny ones has."""
    return cf.MLP((1, 4, 4), hidden=(), latent_dim=4, code_activation="sigmoid", output="sigmoid")


NETS = {cls.__name__: lambda cls=cls: bounded(cls) for cls in MODELS} | {"logistic": logistic}
PARTS = {  # every part once; a denoising contractive autoencoder shows that they compose
    **{c.__name__: Classical(corruption=c()) for c in classes(Corruption)},
    **{c.__name__: Classical(fidelity=c()) for c in classes(Fidelity)},
    **{c.__name__: Classical(penalties=(c(),)) for c in classes(Penalty)},
    "all": Classical(cf.Gaussian((0.1, 0.4)), cf.Bernoulli(), (cf.Contraction(), cf.L1())),
}


def net(name: str, statistics: str) -> Autoencoder:
    model = NETS[name]()
    model.statistics = statistics
    return model


def refusal(objective: Objective, model: Autoencoder) -> str | None:
    """Why the objective has no meaning for the model, where it has none."""
    try:
        objective.check(model)
    except cf.UsageError as error:
        return str(error)
    return None


with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    REFUSED = {
        (part, name, statistics): said
        for name in NETS
        for statistics in ("batch", "running")
        for part in PARTS
        if (said := refusal(PARTS[part], net(name, statistics)))
    }
WAYS = [("batch", torch.float32), ("running", torch.float32), ("running", torch.bfloat16)]
TAKEN = [
    (part, name, *way) for part in PARTS for name in NETS for way in WAYS if (part, name, way[0]) not in REFUSED
]


@pytest.mark.parametrize(("part", "name", "statistics", "precision"), TAKEN)
def test_every_objective_trains_every_architecture_or_refuses_it(part, name, statistics, precision):
    """With a gradient for every parameter. What is refused instead is below."""
    objective, model = PARTS[part], net(name, statistics)
    watch = {}
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        terms = objective(model, images(model, 8), watch)
    assert set(terms) == {"fidelity"} | {type(penalty).__name__ for penalty in objective.penalties}
    assert all(t.shape == () and t.isfinite() and t.requires_grad for t in terms.values())
    assert set(watch) == {"mse", "psnr", "outside"}
    assert not any(w.requires_grad for w in watch.values())
    sum(terms.values()).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(("part", "name", "statistics"), REFUSED)
def test_invalid_combinations_are_refused_before_training_with_advice(part, name, statistics):
    said = REFUSED[part, name, statistics]
    assert "--model" in said
    assert "\n" not in said


@pytest.mark.parametrize("part", PARTS)
def test_every_objective_is_accepted_by_some_architecture(part):
    """One without a penalty by every architecture, in every way."""
    taken = {(name, *way) for given, name, *way in TAKEN if given == part}
    assert taken
    assert PARTS[part].penalties or taken == {(name, *way) for name in NETS for way in WAYS}


@pytest.mark.parametrize("cls", classes(Penalty))
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_penalty_reaches_every_parameter_of_the_encoder(cls, precision):
    name = next(name for name in reversed(NETS) if (cls.__name__, name, "running") not in REFUSED)
    model = net(name, "running")
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        terms = PARTS[cls.__name__](model, images(model, 8))
    terms[cls.__name__].backward()
    assert terms[cls.__name__].dtype == torch.float32
    for parameter_name, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert sum(p.grad.abs().sum() for p in model.encoder.parameters()) > 0


# ---------------------------------------------------------------- samplers of our own


@pytest.mark.parametrize("cls", classes(Sampler))
def test_a_frame_is_decoded_only_when_it_is_requested(cls):
    """Each by one decoding."""
    model = cf.Linear.tiny().eval()
    calls, encoded = [], []
    model.decoder.register_forward_hook(lambda *_: calls.append(1))
    model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    film = small(cls, steps=3, reference=images(model, 16))(model, images(model), Generator())
    assert not calls
    assert not encoded
    for number, _ in enumerate(film, 1):
        assert len(calls) == number
    assert calls


@pytest.mark.parametrize("cls", classes(Sampler))
@pytest.mark.parametrize("model", [*MODELS, None])
def test_a_film_depends_on_the_generator_where_the_class_says_so(cls, model):
    """And is of the size of the images that it begins with, where the model takes others too."""
    net = ready(model)
    x = images(net, 2)
    sampler = small(cls, steps=3, reference=images(net, 16))
    films = [list(sampler(net, x, Generator().manual_seed(seed))) for seed in (5, 6)]
    differ = [not torch.equal(a, b) for a, b in zip(*films, strict=True)]
    assert differ[-1] == any(differ) == cls.random
    assert {frame.shape for frame in films[0]} == {x.shape}


FIELDS = {cls: {field.name for field in dataclasses.fields(cls)} for cls in classes(Sampler)}
BAD = ({"steps": 0}, {"steps": -3}, {"steps": 2.5}, {"std": -0.1}, {"std": float("nan")}, {"batch": 0})


@pytest.mark.parametrize(("cls", "bad"), [(cls, bad) for cls in FIELDS for bad in BAD if set(bad) <= FIELDS[cls]])
def test_zero_steps_and_negative_noise_are_refused(cls, bad):
    with pytest.raises(cf.UsageError):
        cls(**bad)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("cls", MODELS)
def test_a_class_on_the_command_line_has_its_own_defaults(cls):
    from copyfold.cli import train

    options, _ = train._options([f"--model={cls.__name__}"])
    given = cf.Linear((3, 32, 32)) if cls in WRAPPERS else (3, 32, 32)
    assert options.model(given).config == cls(given).config
