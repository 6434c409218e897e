"""Networks trained for quality: until they copy well enough, and long trainings looked at on the way."""

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from copyfold.data import Photos
from copyfold.files import write_text
from copyfold.models.base import Autoencoder
from copyfold.models.storing import load
from copyfold.objectives.base import Classical, Objective
from copyfold.runs import Run
from copyfold.studies.lab import QUALITY, Lab, Make, Training, Which, tidy
from copyfold.studies.toolkit.copying import left
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.networks import with_running_averages
from copyfold.training.callbacks import Event
from copyfold.training.state import TrainState
from copyfold.types import Images

LOOKED = 128  # images, held out or of training, that a look takes on the way
FIRST, RATIO = 20, 1.05  # the step of the first look for a quality, and each further one over the last


def copier(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    left_at_most: float = 0.02,
    steps: int | None = None,
    most: int | None = None,
    **plan: Any,
) -> Autoencoder:
    """The canonical network of an architecture: trained until its copies leave so little of held-out images.

    With the default optimiser and a cosine for so many steps, or as many as the budget says, of 16 images unless
    the plan says otherwise; where that is not enough, again, from scratch, for twice as many, as a cosine has to
    know its end: all trainings together take about twice the last. None is longer than `most` steps, four times
    the first unless given: steps and not minutes, so that a busy machine has the same network. Where none is
    enough, it is the one that leaves the least. Each is cached by the lab and shared between studies.
    """
    steps, plan = steps or lab.budget.steps, QUALITY | plan
    most = 4 * steps if most is None else most
    x, mean = lab.images(photos), mean_image(lab, photos)
    best: tuple[float, Autoencoder] | None = None
    while True:
        model = lab.trained(make, photos, seed, steps=steps, **plan)
        reached = left(model, x, mean)
        if best is None or reached < best[0]:
            best = reached, model
        if reached <= left_at_most or not lab.budget.decides or 2 * steps > most:
            return best[1]
        steps *= 2


@dataclass(frozen=True)
class Look:
    """A network at a step of its training, and the share of the images' variance that its copy leaves."""

    step: int
    left: float
    model: Autoencoder


def on_the_way(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    steps: int,
    at: Sequence[int] = (),
    lefts: Sequence[float] = (),
    objective: Objective | None = None,
    on: Which = "held_out",
    **plan: Any,
) -> list[Look]:
    """One training of so many batches, and the network on its way: at these steps, and at these qualities.

    Of `lefts`, such as 0.3, 0.1, 0.03, 0.01, every one has the network when its copy first leaves no more of 128
    held-out images (looked for at steps from 20 on, each 5 % after the last); one that is not reached is left out.
    With on = "train" qualities are those on 128 training images, which a network that memorises few images needs.
    The last look is the trained network. All by increasing step; two may be at one step.
    With the default optimiser and a cosine to the end unless `plan` says otherwise, so that a network on the way
    has a higher learning rate than a shorter training's would end with. On the way running averages are those of
    128 training images. Cached by the lab as one training; where it is paused it goes on from its last checkpoint.
    """
    objective = objective or Classical()
    plan = QUALITY | {"batch": min(16, len(photos)), "seed": seed, **plan, "steps": steps}
    model = lab.untrained(make, photos, seed)
    folder, what = lab.place(model, objective, photos, plan)
    looked = "-".join(f"{x:g}" for x in sorted({*at, *lefts})) + "-on-train" * (on == "train")
    folder = folder.with_name(f"{folder.name}-at-{looked}")
    watch = _Watch(lab, photos, folder, steps, tuple(at), tuple(lefts), on)
    run, start = Run(folder / "training"), time.monotonic()
    with lab.alone(folder):
        if not (folder / "end" / "made.json").is_file():
            lab.train(model, objective, photos, run, steps, [watch], **plan)
            watch.keep("end", model, steps, what | {"seconds": round(run.history[-1]["seconds"], 1)})
        tidy(run, folder)
    lab.waited += time.monotonic() - start
    looks: list[Look] = []
    for made in folder.glob("*/made.json"):
        about = json.loads(made.read_text(encoding="utf-8"))
        look = Look(about["step"], about["left"], load(made.parent).to(lab.device))
        lab.trainings[look.model] = Training(look.step, look.step * plan["batch"] / len(photos), about["seconds"])
        looks.append(look)
        lab.spent += about["seconds"] if made.parent.name == "end" else 0.0
    return sorted(looks, key=lambda look: (look.step, -look.left))


class _Watch:
    """A callback that keeps a network at given steps and qualities; what is kept before a resume, stays."""

    def __init__(
        self,
        lab: Lab,
        photos: Photos,
        folder: Path,
        steps: int,
        at: Sequence[int],
        lefts: Sequence[float],
        on: Which,
    ) -> None:
        self.folder, self.at, self.lefts = folder, {*at} - {steps}, lefts
        self.mean: Tensor = mean_image(lab, photos)
        self.x: Images = lab.images(photos, on, LOOKED)
        self.seen: Images = lab.images(photos, "train", LOOKED)
        self.grid, step = set[int](), float(FIRST)
        while step < steps:
            self.grid.add(round(step))
            step *= RATIO

    def __call__(self, event: Event, state: TrainState) -> None:
        """After a step: keep what is due."""
        waiting = [x for x in self.lefts if not self._made(f"left-{x:g}").is_file()]
        if event != "step" or not (state.step in self.at or (waiting and state.step in self.grid)):
            return
        model = with_running_averages(copy.deepcopy(state.shown), self.seen)
        about = {"seconds": round(state.clock.seconds, 1)}
        if state.step in self.at:
            self.keep(f"step-{state.step}", model, state.step, about)
        reached = left(model, self.x, self.mean)
        for quality in waiting:
            if reached <= quality:
                self.keep(f"left-{quality:g}", model, state.step, about)

    @torch.no_grad()
    def keep(self, name: str, model: Autoencoder, step: int, about: dict[str, Any]) -> None:
        """Save a network, and what is known of it, which is written last."""
        model.to(self.x.device)
        model.save(self.folder / name)
        about = about | {"step": step, "left": left(model, self.x, self.mean)}
        write_text(self._made(name), json.dumps(about, indent=1) + "\n")

    def _made(self, name: str) -> Path:
        return self.folder / name / "made.json"
