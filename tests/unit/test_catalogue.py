"""Names resolve to known classes and nothing else; descriptions rebuild their objects."""

import sys
from typing import Any

import pytest

import copyfold as cf
from copyfold import catalogue
from copyfold.corruptions import Corruption
from copyfold.models.base import Autoencoder
from copyfold.models.unet import Middle
from copyfold.objectives.base import Objective
from copyfold.samplers.base import Sampler
from copyfold.studies.base import Study


def test_a_family_has_the_classes_that_its_modules_define():
    found = catalogue.members("copyfold.corruptions")
    assert {"Corruption", "Clean", "Gaussian", "noise_like"} <= set(found)
    assert not {"Tensor", "dataclass", "UsageError", "_require"} & set(found)
    assert "Affine" in catalogue.members("copyfold.models")


def test_only_concrete_classes_are_listed():
    found = catalogue.classes(Autoencoder)
    assert {"Linear", "MLP", "Conv", "UNet"} <= set(found)
    assert "Autoencoder" not in found
    assert list(found) == sorted(found)
    assert set(catalogue.classes(Middle)) == {"Affine", "Wide"}


def test_a_family_may_be_kept_in_folders_elsewhere():
    found = catalogue.classes(Study)
    assert found
    assert all(cls.__module__.startswith("copyfold.claims.") for cls in found.values())
    name, cls = next(iter(found.items()))
    assert catalogue.find(Study, name) is cls
    assert name not in catalogue.members("copyfold.claims")
    assert catalogue.members("copyfold.claims", deep=True)[name] is cls


def test_only_copyfolds_own_bases_set_the_home_of_a_family():
    class Elsewhere(Study):
        home = "a_module_that_is_not_there"

        def measure(self, lab):
            return None

    assert catalogue.classes(Elsewhere) == {}
    with pytest.raises(cf.UsageError, match="no Elsewhere is called 'Other'"):
        catalogue.find(Elsewhere, "Other")


@pytest.mark.parametrize(
    ("base", "name", "words"),
    [
        (Autoencoder, "Unet", "no Autoencoder is called 'Unet': did you mean UNet?"),
        (Autoencoder, "unet", "did you mean UNet?"),
        (Autoencoder, "Gaussian", "AttentionUNet, "),
        (Corruption, "Gausian", "did you mean Gaussian?"),
        (Sampler, "os.system", "system is not known here: it came from os"),
        (Sampler, "", "choose one of"),
        (Corruption, "Corruption", "choose one of"),
    ],
)
def test_an_unknown_name_gets_the_nearest_suggestion(base, name, words):
    with pytest.raises(cf.UsageError) as caught:
        catalogue.find(base, name)
    assert words in str(caught.value)


def test_a_name_is_found():
    assert catalogue.find(Corruption, "Gaussian") is cf.Gaussian


def test_a_name_is_searched_among_the_given_classes():
    class Local(cf.Clean):
        """Known, and not among them."""

    assert catalogue.find(Corruption, "Local") is catalogue.find(Corruption, "Local", [Local]) is Local
    assert catalogue.find(Corruption, "elsewhere.Local", [Local]) is Local
    assert catalogue.find(Corruption, "Gaussian", []) is cf.Gaussian
    with pytest.raises(cf.UsageError, match="no Corruption is called 'Local'"):
        catalogue.find(Corruption, "Local", [])


def test_parameters_have_resolved_defaults_and_annotations():
    ramp = cf.Ramp()

    class Own(Sampler):
        """A user's sampler, annotated only where needed."""

        def __init__(self, steps: "int", schedule=ramp, **more):
            self.steps, self.schedule = steps, schedule

        def __call__(self, model, x, rng):
            yield x

    assert [(p.name, p.default) for p in catalogue.parameters(cf.Classical)] == [
        ("corruption", cf.Clean()), ("fidelity", cf.SquaredError()), ("penalties", ())
    ]  # fmt: skip
    steps, schedule, more = catalogue.parameters(Own)
    assert (steps.annotation, steps.default) == (int, steps.empty)
    assert (schedule.annotation, schedule.default) == (cf.Schedule, cf.Ramp())
    assert (more.annotation, more.kind) == (Any, more.VAR_KEYWORD)
    assert catalogue.parameters(cf.Clean) == []


def test_nearest_corrects_case_and_typos():
    assert catalogue.nearest("EPOCHS", ["--epochs", "epochs"]) == "did you mean epochs?"
    assert catalogue.nearest("--epohcs", ["--epochs", "--batch"]) == "did you mean --epochs?"
    assert catalogue.nearest("q", ["b", "a"]) == "choose one of a, b"


@pytest.mark.parametrize(
    "made",
    [
        cf.Clean(),
        cf.Gaussian(0.3),
        cf.Renoising(steps=7, schedule=cf.Ramp(over=3)),
        cf.Affine(hidden=3, latent_dim=2),
    ],
)
def test_descriptions_are_plain_data(made):
    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        return isinstance(value, str | int | float | None) or (isinstance(value, list) and all(map(plain, value)))

    described = catalogue.describe(made)
    assert plain(described)
    assert described["class_path"] == type(made).__name__


def test_a_description_nests():
    objective = cf.Classical(cf.Gaussian(0.1), cf.Bernoulli(), (cf.L1(2.0),))
    assert catalogue.describe(objective) == {
        "class_path": "Classical",
        "init_args": {
            "corruption": {"class_path": "Gaussian", "init_args": {"std": 0.1}},
            "fidelity": {"class_path": "Bernoulli"},
            "penalties": [{"class_path": "L1", "init_args": {"weight": 2.0}}],
        },
    }
    assert catalogue.describe((1, [2.0, None], "a")) == [1, [2.0, None], "a"]


def test_build_reverses_describe():
    grown = cf.Renoising(grow=((2, 32), (3, 64)))
    for base, made in (
        *((Corruption, cf.Mix(0.25)), (Corruption, cf.Gaussian((0.1, 0.2))), (Corruption, cf.Clean())),
        *((Middle, cf.Affine(3, 2)), (Sampler, grown)),
    ):
        assert catalogue.build(base, catalogue.describe(made)) == made
    assert catalogue.build(Corruption, {"class_path": "Gaussian"}) == cf.Gaussian()


def mixed(depth):
    """The description of a mixture of mixtures, with so many descriptions within each other besides the first."""
    made = {"class_path": "Clean"}
    for _ in range(depth):
        made = {"class_path": "Mix", "init_args": {"corruption": made}}
    return made


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "does not describe a Corruption"),
        ("Gaussian", "expected a class_path"),
        ({}, "expected a class_path"),
        ({"init_args": {}}, "expected a class_path"),
        ({"class_path": "Gaussian", "more": 1}, "does not describe"),
        (
            {"class_path": "os.system", "init_args": {"command": "true"}},
            "system is not known here: it came from os; import that",
        ),
        ({"class_path": ["Gaussian"]}, "expected a class_path"),
        ({"class_path": "evil; import evil.Evil"}, "no Corruption is called"),
        ({"class_path": "__main__.Stripes"}, "defined in a script or notebook"),
        ({"class_path": "UNet"}, "choose one of"),
        ({"class_path": "Gaussian", "init_args": {"sdt": 1}}, "Gaussian cannot be made from"),
        ({"class_path": "Gaussian", "init_args": [1]}, "Gaussian cannot be made from"),
        ({"class_path": "Gaussian", "init_args": {1: 2}}, "Gaussian cannot be made from"),
        ({"class_path": "Gaussian", "init_args": {"std": "x"}}, "Gaussian cannot be made from"),
        ({"class_path": "Gaussian", "init_args": {"std": -1.0}}, "at least 0"),
        (mixed(20), "Mix holds descriptions more than 20 deep"),
        (mixed(19), "Mix cannot be made from"),  # it takes none
    ],
)
def test_invalid_descriptions_are_refused(spec, words):
    with pytest.raises(cf.UsageError) as caught:
        catalogue.build(Corruption, spec)
    assert words in str(caught.value)


def test_third_party_names_are_never_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit\n")
    for name in ("evil", "evil.Evil", "copyfold.evil"):
        with pytest.raises(cf.UsageError):
            catalogue.build(Objective, {"class_path": name})
    assert "evil" not in sys.modules


def test_only_public_names_are_resolved():
    assert cf.Gaussian is catalogue.find(Corruption, "Gaussian")
    assert {"UNet", "Photos", "fit", "load", "runs", "Renoising", "UsageError"} <= set(dir(cf))
    for name in ("Gausian", "_hidden", "torch"):
        with pytest.raises(AttributeError, match=f"copyfold has no '{name}'"):
            getattr(cf, name)
