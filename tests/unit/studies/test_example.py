"""A study as new ones are written: three sentences, a regime, kept seeds, and a page that has them all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from copyfold.corruptions import Gaussian
from copyfold.probes.base import Reading
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import pages, runner, statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.networks import LARGE, WAYS, probed, restored, unet, with_running_averages
from copyfold.studies.toolkit.training import copier


@dataclass(frozen=True)
class CopiersPassNoise(Study):
    """A U-Net that copies well passes on some of the noise that is added.

    It is trained until it leaves 2 % of held-out landscapes. "Noise passed" is the share of the energy of noise of
    std 0.2 that comes out again. Control: the same network untrained. The figure shows noisy images, and outputs.
    """

    claim: ClassVar[str] = "example"
    place: ClassVar[str] = "no text"
    asked: ClassVar[str] = "Does a U-Net that has learned to copy still remove noise?"
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Do not rely on a good copier to denoise.",
        PARTLY: "It depends on the statistics: use those that pass less.",
        Verdict.DOES_NOT_HOLD: "A good copier is a denoiser for free.",
    }
    most: ClassVar[int | None] = None
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {"U-Net": Regime(0.02)}
    controls: ClassVar[Mapping[str, Control]] = {
        "noise passed, untrained": (Below(0.1), "It passes noise without having learned anything.")
    }

    noise_passed_running_statistics: Above = Above(0.1)
    noise_passed_batches_of_64: Above = Above(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Train until it copies, add noise, and see how much comes out."""
        photos, make, noise = lab.photos("landscapes"), unet(lab, depth=2), Gaussian(0.2)
        x, seen = lab.images(photos), lab.images(photos, "train")

        def look(seed: int) -> Reading:
            model = copier(lab, make, photos, seed, most=self.most)
            blank = with_running_averages(lab.untrained(make, photos, seed), seen)
            numbers = copying(lab, "U-Net", model, photos)
            for name, (kind, batch) in WAYS.items():
                gap = probed(IdentityGap(noise, draws=0, statistics=kind), model, x, lab.rng(seed, "noise"), batch)
                numbers[f"noise passed {name}"] = gap.numbers["passed"]
            gap = IdentityGap(noise, draws=0)(blank, x, lab.rng(seed, "noise"))
            noisy = noise(x[:SHOWN], lab.rng(seed, "shown"))
            images = {"noisy": noisy, "output": restored(model, noisy, LARGE, "running")}
            return Reading(numbers | {"noise passed, untrained": gap.numbers["passed"]}, images)

        found = lab.by_seed(look)
        names = [name for name in found[0].numbers if name.startswith("noise passed")]
        numbers = {name: statistics.mean([reading.numbers[name] for reading in found]) for name in names}
        passed = numbers["noise passed running statistics"].value
        return Finding(
            numbers,
            {"images": charts.first_images(found[0].images)},
            copying=qualities(found),
            came_out=f"{passed:.0%} of the noise's energy comes out again.",
            captions={"images": "Noisy images, and the network's outputs for them"},
        )


@pytest.mark.parametrize(
    ("seeds", "regime", "verdict"),
    [(1, 0.0, "UNDECIDED"), (2, 0.0, "NOT IN REGIME"), (2, 9.0, None)],
)
def test_a_study_as_new_ones_are_written(seeds, regime, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(CopiersPassNoise, "regime", {"U-Net": Regime(regime)})
    monkeypatch.setattr(CopiersPassNoise, "seeds", seeds)
    monkeypatch.setattr(CopiersPassNoise, "most", 1)
    monkeypatch.setattr(runner, "studies", lambda extra=(): {"copiers-pass-noise": CopiersPassNoise()})
    lab = Lab(replace(BUDGETS["tiny"], seeds=seeds, steps=4), cache=tmp_path / "models")
    came = runner.run(CopiersPassNoise(), lab, tmp_path, "copyfold study copiers-pass-noise")
    assert came == verdict or (verdict is None and came in ("HOLDS", "DOES NOT HOLD", "UNDECIDED"))
    pages.write(tmp_path, tmp_path, "tiny")
    page = (tmp_path / "findings" / "copiers-pass-noise.md").read_text()
    assert page.split("\n\n")[1] == "**Asked:** Does a U-Net that has learned to copy still remove noise?"
    assert f"**Came out: {came}.**" in page
    assert "| U-Net | held out |" in page
    assert ("## Numbers" in page) == (came != "NOT IN REGIME")
    table = (tmp_path / "findings.md").read_text()
    assert f"some of the noise that is added.](findings/copiers-pass-noise.md) | {came} |" in table
