"""Labs at the tiny budget, whose training is replaced by known networks."""

from dataclasses import replace

import pytest

from copyfold.models.dense import Linear
from copyfold.probes import quality
from copyfold.studies.base import Regime
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import represented as searched
from labs import AttentionLab, Curve, PreparedLab


@pytest.fixture
def lab(tmp_path):
    """One that trains."""
    return Lab(BUDGETS["tiny"], {}, tmp_path)


@pytest.fixture
def three_seeds(tmp_path):
    """The same with three seeds."""
    return Lab(replace(BUDGETS["tiny"], seeds=3), {}, tmp_path)


@pytest.fixture
def by_attention(tmp_path):
    """One whose networks are those given by their kind of attention."""

    def made(networks=None, steps=8, **of_kind):  # of searches for an image, as nothing is trained
        budget = replace(BUDGETS["tiny"], steps=steps)
        return AttentionLab(budget, cache=tmp_path, networks=networks or of_kind)

    return made


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """One whose models are on the shelf, with two seeds."""
    monkeypatch.setattr(quality, "PATCHES", 1024)
    return PreparedLab(replace(BUDGETS["tiny"], seeds=2), {}, tmp_path)


@pytest.fixture
def along(lab, monkeypatch):
    """The curve of copying and denoising, with known networks in place of trained ones."""
    return Curve(lab, monkeypatch)


@pytest.fixture
def represented(tmp_path, monkeypatch):
    """The verdict of a study and its finding, of known networks by name ("" for others), and one untrained.

    `untrained` may have a network by its width, and others by None. With steps enough to find what simple networks
    represent. `left` replaces what networks may leave; where
    `tight` intervals have no width, as some of one seed have no end.
    """

    def judge(study, networks, untrained=None, left=None, steps=150, tight=False):
        cache = tmp_path / f"models-{len(list(tmp_path.iterdir()))}"  # nothing is kept of other networks
        lab = Lab(replace(BUDGETS["tiny"], steps=steps, measured=6), cache=cache)
        made = lab.untrained

        def before(make, photos, seed):
            known = untrained is None or getattr(make, "func", None) is Linear
            if known or not isinstance(untrained, dict):
                return made(make, photos, seed) if known else untrained
            return untrained.get(getattr(make, "keywords", {}).get("width"), untrained[None])

        monkeypatch.setattr(lab, "untrained", before)
        monkeypatch.setattr(searched, "network", lambda lab, name, seed: networks.get(name, networks.get("")))
        if left is not None:
            monkeypatch.setattr(type(study), "regime", dict.fromkeys(study.regime, Regime(left)))
        found = study.measure(lab)
        numbers = {name: replace(e, low=e.value, high=e.value) for name, e in found.numbers.items()}
        return study.verdict(numbers if tight else found.numbers, copying=found.copying), found

    return judge
