"""User classes on the command line: from --import, and from installed packages."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

import copyfold as cf
from copyfold import catalogue
from copyfold.models.base import Autoencoder

OWN = '''
"""Classes of mine."""

from dataclasses import dataclass

from torch import Tensor, nn

import copyfold as cf
from copyfold.probes.base import Reading
from copyfold.probes.baselines import Baseline


class Tiny(cf.Autoencoder):
    """A strided convolution each way.

    It is no dataclass, and has no tiny().
    """

    def __init__(self, shape, width: int = 4, scale=2.0):
        super().__init__(shape)
        if width > 64:
            raise ValueError("too wide")
        self.width, self.scale = width, scale
        self.inward = nn.Conv2d(shape[0], width, 2, 2)
        self.outward = nn.ConvTranspose2d(width, shape[0], 2, 2)

    def encode(self, x):
        return self.scale * self.inward(x)

    def decode(self, z):
        return self.outward(z / self.scale)


class Around(cf.Autoencoder):
    def __init__(self, core, by: float = 0.1):
        super().__init__(core.shape)
        self.core, self.by = core, by

    def encode(self, x):
        return self.core.encode(x)

    def decode(self, z):
        return self.core.decode(z) - self.by


class Rows(cf.Corruption):
    """Every so many rows are lost."""

    def __init__(self, every: int = 2):
        self.every = every

    def __call__(self, x, rng=None):
        lost = x.clone()
        lost[..., :: self.every, :] = 0
        return lost


@dataclass(frozen=True)
class Square(cf.Penalty):
    """The squared code."""

    weight: float = 1.0

    def __call__(self, model, x, z, q=None):
        return self.weight * z.flatten(1).square().sum(1).mean()


class Steps(cf.Schedule):
    """All or nothing."""

    def __init__(self, at: float):
        if at > 1:
            raise ValueError("after the end")
        self.at = at

    def __call__(self, n, steps):
        return (0.0, 1.0, 0.0) if n > self.at * steps else (0.0, 0.0, 1.0)


class Pooled(cf.Middle):
    """A waist."""

    def __init__(self, latent_dim: int):
        self.latent_dim = latent_dim

    def squeeze(self, channels, height, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, self.latent_dim))

    def expand(self, channels, height, width):
        wide = nn.Linear(self.latent_dim, channels * height * width)
        return nn.Sequential(wide, nn.Unflatten(1, (channels, height, width)))


class Blend(cf.Sampler):
    """Reconstructions, and ever more of the mean training image."""

    def __init__(self, steps=2, schedule=cf.Ramp(), reference: Tensor | None = None):
        self.steps, self.schedule, self.reference = steps, schedule, reference

    def __call__(self, model, x, rng):
        for n in range(1, self.steps + 1):
            image, kept, _ = self.schedule(n, self.steps)
            yield image * x + kept * model(x).detach() + self.reference.mean(0)


class Brightness(cf.Probe):
    """How bright reconstructions are."""

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, model, x, rng):
        return Reading({"brightness": self.gain * model(x).detach().mean((1, 2, 3))})


class Nothing(Baseline):
    """Leaves the noise where it is."""

    def __call__(self, x, std):
        return x
'''

FAST = ("--size=16", "--limit=16", "--epochs=1", "--precision=32")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with my_models.py, in a process that knows copyfold's classes only, before and after."""
    known = catalogue._recorded
    ours = {key: cls for key, cls in known.items() if catalogue.own(cls)}
    monkeypatch.setattr(catalogue, "_recorded", ours)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_models.py").write_text(OWN)
    yield tmp_path
    forget()
    known.update({key: cls for key, cls in ours.items() if catalogue.own(cls)})


def forget() -> None:
    """What the next process would not know."""
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]
    for key in [key for key in catalogue._recorded if key[0].startswith("my_")]:
        del catalogue._recorded[key]


MINE = ("--import", "my_models.py")


@pytest.fixture
def trained(folder, copyfold) -> Path:
    """A run of a user's model, corruption and penalty; their module is removed again."""
    flags = (
        "--model.width",
        "3",
        "--model",
        "Tiny",
        "--objective.corruption",
        "Rows",
        "--objective.penalties+=Square",
    )
    copyfold("train", *MINE, *flags, "--objective.penalties.weight=0.5", "--run", "r", *FAST).done()
    forget()
    return folder / "r"


# ---------------------------------------------------------------- used like copyfold's


def test_user_classes_are_trained_and_recorded(trained):
    recipe = yaml.safe_load((trained / "recipe.yaml").read_text())
    assert recipe["model"] == {"class_path": "my_models.Tiny", "init_args": {"width": 3, "scale": 2.0}}
    objective = recipe["objective"]["init_args"]
    assert objective["corruption"] == {"class_path": "my_models.Rows", "init_args": {"every": 2}}
    assert objective["penalties"] == [{"class_path": "my_models.Square", "init_args": {"weight": 0.5}}]
    config = json.loads((trained / "model" / "config.json").read_text())
    assert (config["architecture"], config["module"]) == ("Tiny", "my_models")


SECTION = """
from copyfold.report.base import BELOW, Content, Scale, Section


class Brightness(Section):
    title = "How bright is it?"
    scales = (Scale("grey level", "mean of the images", ((BELOW, "Its grey level is {grey_level:.1f}."),)),)

    def __call__(self, context):
        return Content(numbers={"grey level": context.x.mean()})
"""


def test_a_user_section_is_in_the_report_of_a_user_model(trained, folder, copyfold):
    (folder / "my_sections.py").write_text(SECTION)
    said = copyfold("report", trained, *MINE, "--import", "my_sections.py").done()
    page, numbers = (trained / "report.html").read_text(), json.loads((trained / "report.json").read_text())
    assert said.out[-3] == f"Its grey level is {numbers['numbers']['grey level']:.1f}."
    assert page.index(">Training</h2>") < page.index(">How bright is it?</h2>")
    assert "<td>grey level</td><td>mean of the images</td>" in page
    needy = SECTION.replace("    def __call__", "    def __init__(self, most):\n        pass\n\n    def __call__")
    (folder / "my_needs.py").write_text(needy)
    copyfold("report", trained, *MINE, "--import", "my_needs.py").refused(2, "Brightness needs most: give")


def test_a_run_of_a_user_class_opens_only_with_its_module(trained, copyfold, photos):
    weights = (trained / "model" / "model.safetensors").read_bytes()
    lines = {
        "sample": ("sample", trained, "--sampler.steps=1", "--out=a.png"),
        "denoise": ("denoise", trained, photos / "03.png", "--out=denoised"),
        "embed": ("embed", trained, "--out=a.parquet"),
        "probe": ("probe", trained, "--probe=CodeStatistics"),
        "again": ("train", "--config", trained / "recipe.yaml", "--run=again"),
        "resumed": ("train", "--run", trained, "--resume", "--epochs=2"),
    }
    (trained.parent / "my_models.py").rename("hidden.py")  # so that an import would fail
    for line in (*lines.values(), ("report", trained)):
        copyfold(*line).refused(2, "Tiny is not known here: it came from my_models", "give --import my_models")
    assert "my_models" not in sys.modules
    (trained.parent / "hidden.py").rename("my_models.py")
    for line in lines.values():
        copyfold(*line, "--import=my_models").done()
        forget()
    assert (Path("again") / "model" / "model.safetensors").read_bytes() == weights
    assert [row["epoch"] for row in cf.runs.open(trained).history] == [1, 2]


def test_a_class_from_a_script_is_found_in_an_imported_module(trained, copyfold):
    for name in ("recipe.yaml", "model/config.json"):
        path = trained / name
        path.write_text(path.read_text().replace("my_models", "__main__"))
    copyfold("sample", trained).refused(
        2, "Tiny is not known here: it was defined in a script", "--import FILE.py"
    )
    copyfold("train", "--config", trained / "recipe.yaml").refused(2, "Tiny is not known here", "--import FILE.py")
    copyfold("sample", trained, *MINE, "--sampler.steps=1", "--out=a.png").done()
    copyfold("train", "--config", trained / "recipe.yaml", *MINE, "--run=again").done()
    assert cf.runs.open("again").recipe["model"]["class_path"] == "my_models.Tiny"


def test_user_samplers_probes_schedules_baselines_middles_and_cores_work(folder, run, copyfold):
    line = ("sample", run, *MINE, "--count=3", "--out=a.gif")
    copyfold(*line, "--sampler=Blend", "--sampler.steps=3").done()
    with Image.open("a.gif") as film:
        assert film.n_frames >= 3
    copyfold(*line, "--sampler.schedule=Steps", "--sampler.schedule.at=0.5", "--sampler.steps=2").done()
    copyfold(
        *line, "--sampler.steps=2", "--sampler.schedule.at=0.5", "--sampler=Blend", "--sampler.schedule=Steps"
    ).done()
    copyfold("probe", run, *MINE, "--probe=Brightness", "--probe.gain=0", "--count=4", "--out=found").done()
    assert json.loads(Path("found/brightness.json").read_text()) == {"brightness": [0.0] * 4}
    copyfold("probe", run, *MINE, "--probe.baselines=[Nothing]", "--count=4", "--out=found").done()
    assert "Nothing" in json.loads(Path("found/denoising.json").read_text())
    unet = ("--model.width=4", "--model.depth=2", "--model.middle=Pooled", "--model.middle.latent_dim=3")
    copyfold("train", *MINE, *unet, "--run=a", *FAST).done()
    assert cf.load("a").middle.latent_dim == 3
    copyfold("train", *MINE, "--model=Around", "--core=Tiny", "--core.width=2", "--run=b", *FAST).done()
    assert cf.load("b").core.width == 2


def test_help_lists_user_classes(folder, copyfold):
    assert any("--import" in line for line in copyfold("--help").done().out)
    for command, names in {
        "train": ("Tiny",),
        "sample": ("Blend",),
        "probe": ("Brightness",),
        "models": ("Tiny",),
    }.items():
        said = " ".join(copyfold(command, "--help", *MINE).done().out)
        assert not [name for name in (*names, "--import NAME") if name not in said]
    for command in ("data", "denoise", "embed", "report", "study"):
        assert "--import NAME" in " ".join(copyfold(command, "--help").done().out)
    said = copyfold("train", *MINE, "--model.help", "Tiny").done().out
    assert said[0] == "Tiny: A strided convolution each way."
    assert [line.split() for line in said if line.startswith("  --")] == [
        ["--model.width", "4", "a", "whole", "number"],
        ["--model.scale", "2.0", "a", "value"],
    ]
    assert (
        "  --sampler.schedule.at  required  a number"
        in copyfold("sample", *MINE, "--sampler.schedule.help=Steps").out
    )


def test_models_lists_and_describes_user_classes(folder, copyfold):
    ours = copyfold("models").done().out
    said = copyfold("models", *MINE).done().out
    assert said[: len(ours)] == ours
    place = f"(my_models, {folder / 'my_models.py'})"
    assert said[len(ours) :] == [f"{'Tiny':<17}A strided convolution each way. {place}", f"{'Around':<17}{place}"]
    said = copyfold("models", "Tiny", *MINE, "--model.width=3", "--size=8").done().out
    assert "Tiny(width=3) for images of 3×8×8:" in said
    assert "  inward   3×4×4  strided 2×2 convolution     39 parameters, the code" in said
    for core, flags in {"Conv": (), "Tiny": ("--core=Tiny",)}.items():
        said = copyfold("models", "Around", *MINE, *flags).done().out
        assert f"Around({core}) for images of 3×64×64:" in said


# ---------------------------------------------------------------- refused


def test_classes_that_were_not_imported_are_not_found(folder, copyfold):
    class Local(cf.UNet):
        """Known in this process, and not given to the command."""

    assert catalogue.find(Autoencoder, "Local") is Local
    copyfold("train", "--model=Local").refused(2, "--model Local is not known")
    copyfold("models", "Local").refused(2, "no Autoencoder is called 'Local'")
    copyfold("train", "--model=Tiny").refused(2, "--model Tiny is not known", "choose one of")
    copyfold("train", "--model=my_models.Tiny").refused(
        2, "--model my_models.Tiny is not known", "--import FILE.py"
    )
    assert "my_models" not in sys.modules


BROKEN = {
    "nothing.py": (None, ("nothing.py: no such file",)),
    "my_nothing": (None, ("my_nothing: no module my_nothing",)),
    "my-models.py": ("", ("my-models.py is invalid", "a file whose name Python can import")),
    "my models": (None, ("my models is invalid", "expected a module")),
    "json.py": ("", ("another module is called json", "rename the file")),
    "my_wrong.py": (
        "import copyfold\n\n1 / 0\n",
        ("my_wrong.py", "ZeroDivisionError: division by zero", "line 3"),
    ),
    "my_half.py": ("def f(:\n", ("my_half.py", "SyntaxError", "line 1")),
    "my_missing.py": ("\nimport my_nowhere\n", ("No module named 'my_nowhere'", "my_missing.py, line 2")),
    "my_leaving.py": ("raise SystemExit('bye')\n", ("my_leaving.py", "SystemExit: bye", "line 1")),
    "my_shadow.py": (
        "import copyfold as cf\nclass Clean(cf.Gaussian):\n    pass\n",
        ("my_shadow.Clean has the name of a class of copyfold's own", "another name"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_import_errors_are_one_line(name, folder, copyfold):
    text, words = BROKEN[name]
    if text is not None:
        (folder / name).write_text(text)
    copyfold("models", "--import", name).refused(2, "--import ", *words)
    assert name.removesuffix(".py") not in {module for module in sys.modules if module.startswith("my_")} - {
        "my_shadow"
    }


def test_debug_shows_the_traceback_of_an_import(folder, copyfold):
    (folder / "my_wrong.py").write_text("1 / 0\n")
    with pytest.raises(cf.UsageError) as caught:
        copyfold("models", "--import=my_wrong.py", "--debug")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_import_needs_a_name(copyfold):
    for line in (("--import",), ("--import", "--model=UNet"), ("--import=",)):
        copyfold("train", *line).refused(2, "--import needs a module or a .py file")


def test_a_second_module_of_the_same_name_is_refused(folder, copyfold):
    (folder / "other").mkdir()
    (folder / "other" / "my_models.py").write_text(OWN)
    copyfold("models", *MINE).done()
    copyfold("models", "--import", folder / "other" / "my_models.py").refused(
        2, "another module is called my_models", str(folder / "my_models.py")
    )


def test_a_module_without_classes_gives_a_warning_only(folder, copyfold):
    (folder / "my_empty.py").write_text("class Tiny:\n    pass\n")
    said = copyfold("models", "--import=my_empty.py").done()
    assert any("my_empty.py: it has no class that copyfold can use" in line for line in said.err)


def test_a_class_name_in_two_modules_is_ambiguous(folder, copyfold):
    for name in ("my_a", "my_b"):
        (folder / f"{name}.py").write_text(OWN.replace("width: int = 4", f"width: int = {ord(name[-1]) - 96}"))
    both = ("--import=my_a.py", "--import", "my_b.py")
    copyfold("train", *both, "--model=Tiny").refused(2, "2 classes: say which of my_a.Tiny, my_b.Tiny")
    assert "my_a.Tiny, my_a.Around, my_b.Tiny" in " ".join(
        " ".join(copyfold("train", "--help", *both).out).split()
    )
    for name in ("my_a", "my_b"):
        copyfold("train", *both, f"--model={name}.Tiny", "--run", name, *FAST).done()
        assert cf.runs.open(name).recipe["model"]["class_path"] == f"{name}.Tiny"
        assert cf.load(name).width == ord(name[-1]) - 96


WRONG = {
    "train --model=Tiny --model.widht=3": ("--model.widht is not an option of Tiny", "did you mean width?"),
    "train --model=Tiny --model.width=x": ("--model.width x is invalid", "a whole number"),
    "train --model=Around": ("Around wraps another autoencoder", "--core"),
    "train --width=3 --model=Tiny": ("--width is not an option of copyfold train", "did you mean --model.width?"),
    "train --model=Tiny --model.width=65 --size=8": ("ValueError: too wide", "my_models.py, line "),
    "sample r --sampler.schedule=Steps": ("--sampler.schedule.at is required", "Steps has no default"),
    "sample r --sampler.schedule=Steps --sampler.schedule.at=2": (
        "Steps cannot be created: ValueError: after the end",
    ),
    "sample r --sampler=Blend --sampler.reference=x": ("--sampler.reference is not an option of Blend", "steps"),
    "sample r --sampler=Tiny": ("--sampler Tiny is not known", "Blend"),
    "sample r --sampler=Blend --sampler.schedule=Tiny": ("--sampler.schedule Tiny is not known", "Steps"),
}


@pytest.mark.parametrize("line", WRONG)
def test_usage_errors_of_user_classes_are_like_those_of_copyfold(line, folder, copyfold):
    said = copyfold(*line.split(), *MINE)
    said.refused(1 if "too wide" in WRONG[line][0] else 2, *WRONG[line])


# ---------------------------------------------------------------- from an installed package

SHOP = f"{OWN}\n\nprint('imported', file=open('imported', 'a'))\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which a wheel was installed that has two plug-ins, one of them broken."""
    place = tmp_path_factory.mktemp("shop")
    wheel = place / "shop-1.0-py3-none-any.whl"
    files = {
        "shop.py": SHOP,
        "broken_shop.py": "1 / 0\n",
        "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n",
        "shop-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "shop-1.0.dist-info/entry_points.txt": "[copyfold.plugins]\nshop = shop\nworse = broken_shop\n",
    }
    files["shop-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in (*files, "shop-1.0.dist-info/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    options = (
        "--no-index",
        "--no-deps",
        "--disable-pip-version-check",
        "--quiet",
        "--target",
        str(place / "site"),
    )
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return place / "site"


def test_an_installed_plug_in_needs_no_import(site, tmp_path, start, ended, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    lines = ("models",), ("train", "--model=Tiny", "--objective.corruption=Rows", "--run=r", *FAST)
    listed, trained = (ended(process).done() for process in [start(*line, cwd=tmp_path) for line in lines])
    assert any(line.startswith("Tiny ") and line.endswith(f"(shop, {site / 'shop.py'})") for line in listed.out)
    for said in (listed, trained):
        assert "the plug-in worse (broken_shop) is left out: ZeroDivisionError: division by zero" in said.err
    assert yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())["model"]["class_path"] == "shop.Tiny"
    (tmp_path / "imported").unlink()
    helped = start("--help", cwd=tmp_path)
    ended(start("sample", "r", "--sampler.steps=1", cwd=tmp_path)).done()
    assert (tmp_path / "imported").read_text().splitlines() == ["imported"]
    ended(helped).done()
    assert (tmp_path / "imported").read_text().splitlines() == ["imported"]


CLAIM = '''
"""A claim of mine."""

from dataclasses import dataclass
from typing import ClassVar

import torch

import copyfold as cf
from copyfold.studies.base import Above, Estimate, Finding, Study, Verdict
from copyfold.studies.statistics import mean


@dataclass(frozen=True)
class NoiseIsNoise(Study):
    """Noise of std .2 has an error above .03."""

    claim: ClassVar[str] = "mine"
    place: ClassVar[str] = "nowhere"
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[dict[str, str]] = {}

    error: Above = Above(0.03)

    def measure(self, lab):
        x = torch.full((32, 1, 8, 8), 0.5)
        noisy = [cf.Gaussian(0.2)(x, lab.rng(seed)) for seed in lab.seeds]
        return Finding({"error": mean([cf.measures.mse(y, x) for y in noisy])})
'''


def test_a_user_claim_is_listed_and_measured(tmp_path, copyfold, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_claims.py").write_text(CLAIM)
    given = ("--import", tmp_path / "my_claims.py")
    try:
        listed = copyfold("study", "--list", *given).done().out
        said = copyfold("study", "noise-is-noise", *given, "--out", tmp_path / "out").done()
    finally:
        sys.modules.pop("my_claims", None)
    assert [line.split()[:2] for line in listed if "noise-is-noise" in line] == [["mine", "noise-is-noise"]]
    assert said.out[0].split()[:2] == ["mine", "noise-is-noise"]
    found = json.loads((tmp_path / "out" / "tiny" / "noise-is-noise" / "finding.json").read_text())
    assert found["numbers"]["error"]["value"] == pytest.approx(0.04, rel=0.1)
    assert found["command"] == "copyfold study --import=my_claims noise-is-noise --budget tiny"
    copyfold("study", "noise-is-noise").refused(2, "no study is called 'noise-is-noise'")
