"""The code digest changes with the code of a training, and with nothing else."""

import importlib.util
import sys
from types import ModuleType

import pytest

import copyfold as cf
from copyfold.claims.overcomplete.not_the_identity import NotTheIdentity
from copyfold.models.unet import Affine, Middle
from copyfold.studies import provenance
from copyfold.studies.provenance import code_digest, study_digest

OWN = """
from dataclasses import dataclass

from copyfold.corruptions import Corruption
from copyfold.models.unet import Affine


@dataclass(frozen=True)
class Dim(Corruption):
    def __call__(self, x, rng=None):
        return 0.5 * x


class Waist(Affine):
    pass
"""
COMMENTED = """
'''Half of the light.'''
from dataclasses import dataclass
from copyfold.corruptions import (
    Corruption,  # what a corruption is
)
from copyfold.models.unet import Affine
@dataclass(frozen=True)
class Dim(Corruption):
    "Half of the light."
    def __call__(self, x, rng=None):
        '''Half of it.'''
        return (0.5 * x)  # half
class Waist(Affine):
    pass
"""


def digest(model=None, objective=None) -> str:
    return code_digest(model or cf.MLP.tiny(), objective or cf.Classical())


def unet(middle: Middle) -> cf.UNet:
    return cf.UNet((1, 32, 32), width=4, depth=2, middle=middle)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Defines classes of a user's own, in a module that is always called the same."""

    def define(source: str, file: str) -> ModuleType:
        path = tmp_path / file
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("somebodys", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "somebodys", module)
        spec.loader.exec_module(module)
        return module

    return define


def changed(monkeypatch, module: str, line: str = "ANOTHER = 1") -> None:
    """One line more in a module of copyfold."""
    sources = provenance._sources()
    assert module in sources
    monkeypatch.setattr(provenance, "_sources", lambda: sources | {module: f"{sources[module]}\n{line}\n"})


@pytest.mark.parametrize(
    "module",
    [
        *("models.dense", "models.blocks", "models.base", "objectives.base", "objectives.fidelities"),
        *("corruptions", "training.fitting", "training.loop", "training.loss", "training.metrics_log"),
        *("training.plan", "training.randomness", "data.batches", "data.photos"),
    ],
)
def test_a_change_of_training_code_changes_the_digest(module, monkeypatch):
    before = digest()
    changed(monkeypatch, f"copyfold.{module}")
    assert digest() != before


@pytest.mark.parametrize(
    "module",
    [
        *("models.attention", "objectives.penalties", "samplers.walk", "probes.stability", "studies.lab"),
        *("cli.train", "report.diagnosis", "pictures.films", "data.reading.decoding", "training.classifying"),
    ],
)
def test_a_change_of_unrelated_code_keeps_the_digest(module, monkeypatch):
    before = digest()
    changed(monkeypatch, f"copyfold.{module}")
    assert digest() == before


def test_comments_do_not_change_the_digest(monkeypatch):
    before = digest()
    changed(monkeypatch, "copyfold.models.dense", "# a comment\n'a sentence'")
    assert digest() == before


@pytest.mark.parametrize(
    ("module", "model", "objective"),
    [
        ("objectives.penalties", None, cf.Classical(penalties=(cf.L1(),))),
        ("models.conv", cf.Variational.tiny(), None),
        ("models.variational", cf.Variational.tiny(), None),
        ("models.unet", unet(Affine(8, 4)), None),
    ],
)
def test_parts_of_models_and_objectives_change_the_digest(module, model, objective, monkeypatch):
    before = digest(model, objective)
    changed(monkeypatch, f"copyfold.{module}")
    assert digest(model, objective) != before


@pytest.mark.parametrize(
    "use", [lambda own: {"objective": cf.Classical(own.Dim())}, lambda own: {"model": unet(own.Waist(8, 4))}]
)
def test_the_code_of_user_classes_changes_the_digest(use, own):
    half = digest(**use(own(OWN, "half.py")))
    assert half == digest(**use(own(COMMENTED, "commented.py")))
    assert half != digest(**use(own(OWN.replace("0.5", "0.7"), "more.py")))


def test_a_class_without_source_is_identified_by_its_bases(own, monkeypatch):
    objective = cf.Classical(own(OWN, "half.py").Dim())
    monkeypatch.delitem(sys.modules, "somebodys")
    before = digest(objective=objective)
    changed(monkeypatch, "copyfold.corruptions")
    assert digest(objective=objective) != before


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        *(
            (name, True)
            for name in ("studies.toolkit.networks", "studies.lab", "probes.denoising", "training.loop")
        ),
        *((name, True) for name in ("claims.overcomplete", "corruptions")),
        *(
            (name, False)
            for name in ("studies.pages", "studies.statistics", "studies.toolkit.charts", "cli.study")
        ),
        *((name, False) for name in ("claims.walking", "samplers.walk", "studies.toolkit.attention")),
    ],
)
def test_the_numbers_of_a_study_follow_from_what_it_measures_with(module, counts, monkeypatch):
    before = study_digest(NotTheIdentity)
    changed(monkeypatch, f"copyfold.{module}")
    assert (study_digest(NotTheIdentity) != before) == counts


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("Below(0.8)", "Below(0.9)", True),
        ('NETWORK: (D2, "0.01")', 'NETWORK: (D2, "0.02")', True),
        ('claim: ClassVar[str] = "T1"', 'claim: ClassVar[str] = "T99"', False),
        ("Verdict.HOLDS: ", 'Verdict.NOT_IN_REGIME: "Train longer.", Verdict.HOLDS: ', False),
        ("Controls: ", "All controls: ", False),
    ],
)
def test_what_a_study_says_of_itself_changes_none_of_its_numbers(old, new, counts, monkeypatch):
    before, source = study_digest(NotTheIdentity), provenance._source(NotTheIdentity)
    assert old in source
    monkeypatch.setattr(provenance, "_source", lambda kind: source.replace(old, new))
    assert (study_digest(NotTheIdentity) != before) == counts
