"""--help of every command: titles of groups, and words in place of Python types."""

import re

import pytest

from copyfold import catalogue
from copyfold.cli import commands
from copyfold.detection.base import Score
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.probes.base import Probe
from copyfold.problems.base import Problem
from copyfold.samplers.base import Sampler

LEAKED = re.compile(
    r"Callable|Optional|Union|Literal|Sequence|<class|Tensor|\bnull\b|\| |init_args|class_path|CLASS_PATH|type:"
    r"|copyfold\.[A-Z]"
)


def helped(copyfold, *arguments) -> str:
    """What the help says, its lines joined."""
    return " ".join(" ".join(copyfold(*arguments).done().out).split())


@pytest.mark.parametrize("name", commands())
def test_help_has_words_and_no_python_types(name, copyfold):
    said = helped(copyfold, name, "--help")
    assert not LEAKED.findall(said)
    assert said.count("(") == said.count(")")


TITLES = {
    "train": [
        "how images are read",
        "streams, read again in every epoch",
        "the run's folder",
        "training",
    ],
    "sample": ["how --start is read"],
    "probe": ["how DATA is read"],
    "report": ["how DATA is read"],
    "embed": ["how DATA is read"],
    "outliers": ["how DATA is read"],
    "similar": ["how DATA is read"],
    "duplicates": ["what is compared"],
}


@pytest.mark.parametrize("name", commands())
def test_option_groups_have_titles_for_the_command(name, copyfold):
    lines = copyfold(name, "--help").done().out
    lines = lines[lines.index("options:") + 1 :]
    found = [line.rstrip(":") for line in lines if re.fullmatch(r"\S.*:", line)]
    assert found == TITLES.get(name, [])
    if name != "train":  # which alone divides what it is given
        assert "held out, drawn" not in helped(copyfold, name, "--help")


def test_switches_are_in_their_group(copyfold):
    said = helped(copyfold, "train", "--help")
    places = [
        said.rindex(word) for word in ("how images are read:", "--no-skip-bad", "--no-stream", "the run's folder:")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "option", "base"),
    [
        ("train", "--model", Autoencoder),
        ("train", "--objective", Objective),
        ("probe", "--probe", Probe),
        ("sample", "--sampler", Sampler),
        ("restore", "--problem", Problem),
        ("outliers", "--score", Score),
    ],
)
def test_the_classes_of_an_option_are_listed_and_each_has_help(command, option, base, copyfold):
    known = catalogue.classes(base)
    (listed,) = re.findall(rf" {option} [A-Z]+ [^(]*\(([^)]*)\)", helped(copyfold, command, "--help"))
    assert set(known) <= set(listed.split(", "))  # those that tests define are known too
    for name in known:
        lines = copyfold(command, f"{option}.help={name}").done().out
        assert lines[0].startswith(f"{name}: ")
        options = "\n".join(line for line in lines if line.startswith(f"  {option}."))
        assert not set(LEAKED.findall(options)) - {"null"}, name  # which is how it is typed
        assert not re.search(r"\.(reference|labels)\b", options), name  # what cannot be typed
