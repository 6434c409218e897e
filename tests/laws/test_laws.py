"""Laws for every class of the catalogue: a new class is tested the moment its file exists."""

import dataclasses
import inspect

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold import catalogue
from copyfold.corruptions import Corruption
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import receptive_field
from copyfold.models.unet import Middle
from copyfold.objectives.base import Classical, Objective, Penalty
from copyfold.objectives.fidelities import Fidelity
from copyfold.probes.base import Probe
from copyfold.samplers.base import Sampler
from copyfold.samplers.renoising import Schedule

BASES = (Autoencoder, Middle, Corruption, Fidelity, Objective, Penalty, Sampler, Schedule, Probe)
MODELS = list(catalogue.classes(Autoencoder).values())
# made of a model, whose shape and output they have
WRAPPERS = [c for c in MODELS if "core" in inspect.signature(c).parameters]
SHAPED = [c for c in MODELS if c not in WRAPPERS]
CONFIGURED = [c for base in BASES if base is not Autoencoder for c in catalogue.classes(base).values()]


def images(model: Autoencoder, count: int = 4) -> torch.Tensor:
    return torch.rand(count, *model.shape, generator=Generator().manual_seed(1))


def maps(code: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return code if isinstance(code, tuple) else (code,)


def ready(cls: type[Autoencoder]) -> Autoencoder:
    """A tiny model with averages that were recorded, in eval mode."""
    model = cls.tiny()
    with torch.no_grad():
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


def code_model(index: int) -> Autoencoder:
    """One of every architecture, and after them a U-Net whose code is a tuple."""
    if index < len(MODELS):
        return ready(MODELS[index])
    return cf.UNet((3, 16, 16), width=4, depth=2, skips="concat").eval()


# ---------------------------------------------------------------- every class


@pytest.mark.parametrize("base", BASES)
def test_the_catalogue_has_every_family(base):
    assert catalogue.classes(base)


@pytest.mark.parametrize("cls", [*MODELS, *CONFIGURED])
def test_a_class_says_what_it_is(cls):
    first = inspect.cleandoc(cls.__doc__ or "").splitlines()[0]
    assert 10 < len(first) <= 80
    assert first.endswith((".", ":"))


@pytest.mark.parametrize("cls", [*MODELS, *CONFIGURED])
def test_a_class_is_found_by_its_name(cls):
    assert getattr(cf, cls.__name__) is cls
    assert cls.__name__ in dir(cf)


@pytest.mark.parametrize("cls", CONFIGURED)
def test_a_configuration_is_frozen_plain_data_and_comes_back(cls):
    made = cls()
    described = catalogue.describe(made)
    base = next(base for base in BASES if issubclass(cls, base))
    if not any(isinstance(v, dict) for v in described.get("init_args", {}).values()):
        assert catalogue.build(base, described) == made
    assert described["class_path"] == cls.__name__
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, None)


# ---------------------------------------------------------------- architectures


@pytest.mark.parametrize("cls", MODELS)
def test_decoding_a_code_is_the_model(cls):
    model = ready(cls)
    x = images(model)
    z = model.encode(x)
    assert all(len(m) == len(x) for m in maps(z))
    assert torch.equal(model.decode(z), model(x))
    assert model(x).shape == x.shape
    assert [m.shape for m in maps(model.draw(x))] == [m.shape for m in maps(z)]


@pytest.mark.parametrize("cls", MODELS)
def test_what_is_saved_is_loaded_exactly(cls, tmp_path):
    model = ready(cls)
    model.statistics = "running"
    model.to(memory_format=torch.channels_last)
    model.save(tmp_path)
    loaded = cf.load(tmp_path)
    assert type(loaded) is cls
    assert loaded.config == model.config
    assert loaded.statistics == "running"
    assert not loaded.training
    assert {k: v.dtype for k, v in loaded.state_dict().items()} == dict.fromkeys(model.state_dict(), torch.float32)
    x = images(model)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    torch.testing.assert_close(loaded(x), model(x), rtol=1e-5, atol=1e-6)
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("cls", MODELS)
def test_the_hub_s_way_of_saving_gives_the_same(cls, tmp_path):
    model = ready(cls)
    model.save_pretrained(tmp_path)
    again = Autoencoder.from_pretrained(str(tmp_path))
    assert torch.equal(again(images(model)), model(images(model)))


@pytest.mark.parametrize("cls", MODELS)
def test_every_parameter_gets_a_gradient(cls):
    model = cls.tiny()
    sum(Classical()(model, images(model, 8)).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("cls", MODELS)
def test_arguments_are_stored_under_their_names(cls):
    model = cls.tiny()
    assert set(model.config) == set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert cls(**{k: getattr(model, k) for k in model.config}).config == model.config


@pytest.mark.parametrize("cls", MODELS)
def test_running_statistics_keep_images_apart_and_batch_statistics_do_not(cls):
    model = ready(cls)
    x = images(model, 8)
    with model.using("running"):
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
    with model.using("batch"):
        apart = (model(x)[:2] - model(x[:2])).abs().max() > 1e-4
    assert apart == model.has_statistics


@pytest.mark.parametrize("cls", MODELS)
def test_a_model_in_eval_mode_changes_nothing_in_itself(cls):
    model = ready(cls)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for statistics in ("batch", "running"):
        with model.using(statistics):
            model(images(model))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.statistics == "batch"


@pytest.mark.parametrize("cls", MODELS)
def test_both_statistics_are_recorded_in_training(cls):
    model = cls.tiny()
    if not model.has_statistics:
        assert not list(model.buffers())
        return
    for statistics in ("batch", "running"):
        model = cls.tiny().train()
        model.statistics = statistics
        before = [b.clone() for b in model.buffers()]
        model(images(model)).sum().backward()
        assert all(not torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


@pytest.mark.parametrize("cls", MODELS)
def test_the_summary_counts_right(cls):
    model = ready(cls)
    found = model.summary()
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.code_size == sum(m[0].numel() for m in maps(model.encode(images(model))))
    assert found.input_size == images(model)[0].numel()
    assert found.kind in str(found)


@pytest.mark.parametrize("cls", MODELS)
def test_receptive_fields_are_those_of_the_gradient(cls):
    """No gradient of a pixel beyond the field, and one that reaches it: on a large image where one is taken."""
    model = ready(cls)
    model.statistics = "running"
    field = receptive_field(model.modules())
    side = model.shape[1] if model.multiple is None else model.multiple * 16
    spans = []
    for pixel in range(side // 2 - 2, side // 2 + 2):
        x = torch.rand(8, model.shape[0], side, side, requires_grad=True)
        model(x)[:, :, pixel, pixel].sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().sum((0, 1, 2)).nonzero()
        spans += [int(seen.max() - seen.min()) + 1] if len(seen) else []
    assert max(spans) <= min(field or side, side)
    assert max(spans) >= 0.7 * min(field or side, side)


@pytest.mark.parametrize("cls", MODELS)
def test_other_sizes_are_taken_where_it_is_said(cls):
    model = ready(cls)
    if model.multiple is None:
        return
    x = torch.rand(2, model.shape[0], 3 * model.multiple, 5 * model.multiple)
    assert model(x).shape == x.shape


@pytest.mark.parametrize("cls", MODELS)
def test_bf16_gives_numbers(cls):
    model = cls.tiny()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(Classical()(model, images(model)).values())
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("cls", SHAPED)
@pytest.mark.parametrize("shape", [(0, 16, 16), (3, -1, 16), (3, 16)])
def test_impossible_shapes_are_refused(cls, shape):
    with pytest.raises(cf.UsageError):
        cls(shape)


@pytest.mark.parametrize("cls", SHAPED)
def test_an_unknown_choice_is_refused_with_the_known_ones(cls):
    shape = cls.tiny().shape
    with pytest.raises(cf.UsageError, match="linear, sigmoid"):
        cls(shape, output="tanh")


@pytest.mark.parametrize("cls", MODELS)
def test_a_sigmoid_output_stays_within_its_bounds(cls):
    model = bounded(cls)
    z = model.encode(images(model))
    assert torch.equal(model.decode(z), torch.sigmoid(model.logits(z)))


# ---------------------------------------------------------------- corruptions, objectives


@pytest.mark.parametrize("cls", catalogue.classes(Corruption).values())
def test_a_corruption_is_a_function_of_images_and_generator(cls):
    x = torch.rand(3, 2, 16, 16)
    once, twice = (cls()(x, Generator().manual_seed(5)) for _ in range(2))
    assert once.shape == x.shape
    assert torch.equal(once, twice)
    assert cls()(x).shape == x.shape


def suitable(penalty: Penalty) -> Autoencoder:
    """A tiny model on which the penalty has a meaning."""
    logistic = cf.MLP((1, 4, 4), hidden=(), latent_dim=4, code_activation="sigmoid")
    return next(model for model in (logistic, *(cls.tiny() for cls in MODELS)) if accepts(penalty, model))


def accepts(part: Penalty | Objective, model: Autoencoder) -> bool:
    try:
        part.check(model)
    except cf.UsageError as error:
        if "--model" not in str(error):
            raise AssertionError("a refusal says what to do") from error
        return False
    return True


OBJECTIVES = [  # every part once; a denoising contractive autoencoder shows that they compose
    *(Classical(corruption=c()) for c in catalogue.classes(Corruption).values()),
    *(Classical(fidelity=f()) for f in catalogue.classes(Fidelity).values()),
    *(Classical(penalties=(p(),)) for p in catalogue.classes(Penalty).values()),
    Classical(cf.Gaussian((0.1, 0.4)), cf.Bernoulli(), (cf.Contraction(), cf.L1())),
]


@pytest.mark.parametrize(
    ("statistics", "precision"),
    [("batch", torch.float32), ("running", torch.float32), ("running", torch.bfloat16)],
)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_objective_goes_with_every_architecture(model, objective, statistics, precision):
    """With gradients for every parameter. Or refuses it before training, with what to do."""
    net = bounded(model)
    net.statistics = statistics
    if not accepts(objective, net):
        return
    watch = {}
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        terms = objective(net, images(net, 8), watch)
    assert set(terms) == {"fidelity"} | {type(penalty).__name__ for penalty in objective.penalties}
    assert all(t.shape == () and t.isfinite() and t.requires_grad for t in terms.values())
    assert set(watch) == {"mse", "psnr", "outside"}
    assert not any(w.requires_grad for w in watch.values())
    sum(terms.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("cls", catalogue.classes(Penalty).values())
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_penalty_reaches_every_parameter_of_the_encoder(cls, precision):
    model = suitable(cls())
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        terms = Classical(penalties=(cls(),))(model, images(model, 8))
    terms[cls.__name__].backward()
    assert terms[cls.__name__].dtype == torch.float32
    for name, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert sum(p.grad.abs().sum() for p in model.encoder.parameters()) > 0


@pytest.mark.parametrize("cls", catalogue.classes(Penalty).values())
def test_a_penalty_does_not_grow_with_the_batch_and_grows_with_its_weight(cls):
    weight = dataclasses.fields(cls)[0].name
    penalty, model = cls(), suitable(cls()).eval()
    model.statistics = "running"
    x = images(model)

    def paid(penalty: Penalty, x: torch.Tensor) -> torch.Tensor:
        x, q = x.requires_grad_(), model.posterior(x)
        torch.manual_seed(0)
        return penalty(model, x, model.encode(x) if q is None else q.mean, q)

    if cls is not cf.Contraction:  # one draw for every image: the same only on average
        torch.testing.assert_close(paid(penalty, torch.cat((x, x))), paid(penalty, x))
    torch.testing.assert_close(paid(cls(**{weight: 3.0}), x), 3 * paid(penalty, x))


@pytest.mark.parametrize("cls", catalogue.classes(Penalty).values())
def test_a_penalty_that_is_warmed_up_ends_whole(cls):
    assert cls().share(10**9) == 1.0
    assert 0 <= cls().share(0) <= 1


# ---------------------------------------------------------------- samplers, probes


def short(cls: type[Sampler], model: Autoencoder) -> Sampler:
    """Of three steps, where it has steps, else of one frame; fitted to images, where it is one that is fitted."""
    given = {"steps": 3, "reference": images(model, 16)}
    return cls(**{name: value for name, value in given.items() if name in cls.__dataclass_fields__})


@pytest.mark.parametrize("cls", catalogue.classes(Sampler).values())
@pytest.mark.parametrize("index", range(len(MODELS) + 1))
def test_a_film_has_its_steps_and_is_a_function_of_the_generator(cls, index):
    """Of its state alone; or of none, where the class says that it draws nothing at random."""
    model = code_model(index)
    sampler = short(cls, model)
    x = images(model, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    films = [list(sampler(model, x, Generator().manual_seed(seed))) for seed in (5, 5, 6)]
    assert [len(film) for film in films] == [getattr(sampler, "steps", 1)] * 3
    assert all(frame.shape == x.shape and not frame.requires_grad for frame in films[0])
    assert all(frame.isfinite().all() for frame in films[0])
    assert all(torch.equal(a, b) for a, b in zip(films[0], films[1], strict=True))
    differ = [not torch.equal(a, b) for a, b in zip(films[0], films[2], strict=True)]
    assert differ[-1] == any(differ) == cls.random
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("cls", catalogue.classes(Sampler).values())
def test_a_film_is_lazy(cls):
    model = ready(cf.Linear)
    calls, encoded = [], []
    model.decoder.register_forward_hook(lambda *_: calls.append(1))
    model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    film = short(cls, model)(model, images(model), Generator())
    assert not calls
    assert not encoded
    for number, _ in enumerate(film, 1):
        assert len(calls) == number


@pytest.mark.parametrize("cls", catalogue.classes(Sampler).values())
def test_no_steps_and_negative_noise_are_refused(cls):
    fields = {field.name for field in dataclasses.fields(cls)}
    for bad in ({"steps": 0}, {"steps": -3}, {"steps": 2.5}, {"std": -0.1}, {"std": float("nan")}, {"batch": 0}):
        if not set(bad) <= fields:
            continue
        with pytest.raises(cf.UsageError):
            cls(**bad)


@pytest.mark.parametrize("cls", catalogue.classes(Probe).values())
@pytest.mark.parametrize("model", MODELS)
def test_a_probe_reads_and_changes_nothing(cls, model):
    """Or says what it needs instead."""
    net = ready(model)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    if not model.stochastic and cls is cf.Evidence:
        with pytest.raises(cf.UsageError, match=r"wrap it in Variational|give std"):
            cls()(net, images(net), Generator())
        return
    if cls is cf.Quality:  # tried on data in its own tests
        with pytest.raises(cf.UsageError, match=r"Quality\(reference="):
            cls()(net, images(net), Generator())
        return
    probe = cls(std=0.1) if cls is cf.Evidence else cls()
    first, again = (probe(net, images(net), Generator().manual_seed(2)) for _ in range(2))
    assert first.numbers
    assert all(v.isfinite().all() for v in first.numbers.values())
    assert all(torch.equal(v, again.numbers[k]) for k, v in first.numbers.items())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.statistics == "batch"


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("cls", MODELS)
def test_a_class_on_the_command_line_has_its_own_defaults(cls):
    from copyfold.cli import train

    options = train._options([f"--model={cls.__name__}"])
    given = cf.Linear((3, 32, 32)) if cls in WRAPPERS else (3, 32, 32)
    assert options.model(given).config == cls(given).config
