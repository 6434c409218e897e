"""Eight networks, each looked at along one long training that only copies.

Everything is on cifar10 at 32 pixels in colour, because a fully connected network needs its 50,000 images to copy
others than it was trained on, and because networks are only comparable where all have seen the same images. A look
is taken when a copy first leaves 30, 20, 10, 5, 3, 2, 1, 0.5 and 0.3 % of held-out images' variance, and at the
end. `reading` measures all looks of a network and seed once, and the lab keeps them (`Lab.shared`); what claims
read off them is in `curve`.

Trainings are of fixed lengths, each about 20 minutes of one core: Muon with a cosine for convolutions, Adam with a
cosine for the fully connected network, whose layers are too large for Muon's products. The U-Nets without skips
are skips="none": the functions are those of the essay's network, whose stages receive their own input twice, at
two thirds of the cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from copyfold.data import Photos
from copyfold.measures import mse, sharpness
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm
from copyfold.models.unet import UNet
from copyfold.probes.base import Reading
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying
from copyfold.studies.toolkit.looks import BY_16, BY_64, LEFTS, RUNNING, measured, noisy_images
from copyfold.studies.toolkit.networks import WAYS, wide, with_running_averages
from copyfold.studies.toolkit.rivals import pca_that_leaves, without_network
from copyfold.studies.toolkit.training import on_the_way
from copyfold.types import Images

END, UNTRAINED = "end", "untrained"
PLACES = (UNTRAINED, *(f"{bound:g}" for bound in LEFTS), END)
"""Where a network may have been looked at."""
SHORT = 10_000  # batches of every training at a budget smaller than cpu, scaled to it
SIDE = 32  # pixels, where the budget has no fewer

FULLY = "fully connected"
D1, D2, D3 = (f"U-Net, depth {depth}" for depth in (1, 2, 3))
SKIPS_2, SKIPS_3 = f"{D2}, skips", f"{D3}, skips"
HALF, TWICE = f"{D2}, half the width", f"{D2}, twice the width"


@dataclass(frozen=True)
class Configuration:
    """A network, and its training: so many batches, 16 to 19 minutes of one core.

    A step takes 37 ms of the fully connected network (128 images), 32, 55 and 91 ms of depth 1, 2 and 3, 49 and
    85 ms with skips, 26 and 160 ms of half and twice the width (16 images); looks take two minutes more. At a
    budget smaller than cpu all have as many.
    """

    make: Make
    steps: int
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])


def configurations(lab: Lab) -> dict[str, Configuration]:
    """The eight networks by name.

    At the cpu budget the U-Net's width is 32. The fully connected network has five hidden layers of a third of the
    image's numbers: 1,024 units. So its code is shorter than the image, unlike those of all the U-Nets here, which
    are 1.3 to 5.3 times as long.
    """

    def net(depth: int, skips: str = "none", times: float = 1.0) -> Make:
        return partial(UNet, width=round(lab.budget.width * times), depth=depth, skips=skips)

    return {
        FULLY: Configuration(partial(wide, times=1 / 3), 30_000, {"batch": 128, "lr": 5e-4}),
        D1: Configuration(net(1), 34_000),
        D2: Configuration(net(2), 20_000),
        D3: Configuration(net(3), 12_000),
        SKIPS_2: Configuration(net(2, "concat"), 20_000),
        SKIPS_3: Configuration(net(3, "concat"), 12_000),
        HALF: Configuration(net(2, times=0.5), 40_000),
        TWICE: Configuration(net(2, times=2), 6_500),
    }


def photographs(lab: Lab) -> Photos:
    """The images of all: cifar10 at 32 pixels."""
    return lab.photos("cifar10", min(SIDE, lab.budget.side))


def reading(lab: Lab, name: str, seed: int) -> Reading:
    r"""All that is measured of one network and seed: as it was kept, where it has been measured before.

    Numbers are per held-out image and called "AT: WHAT". AT is "untrained", a quality that was reached, or "end".
    WHAT is what `looks.measured` measures, in every way (a network without batch norm has one, under all three
    names). "sharpness" and "sharpness of the error" are of the copy with running statistics and of its difference
    from x. "pca, WHAT" are the same numbers of PCA with as many components as leave what the network leaves, and
    "components" how many. Also how it copies (`copying`). Images "AT: copy", "AT: gaussian 0.2" (output, running
    statistics) and "AT: mix 0.3" (output, batches of 64). "beside: WHAT" is of `rivals.without_network`.

    Paused before it begins, where the lab's minutes are over.
    """
    photos, of = photographs(lab), configurations(lab)[name]
    smaller = lab.budget.steps < BUDGETS["cpu"].steps
    steps = lab.budget.scaled(SHORT) if smaller else of.steps
    plan: dict[str, Any] = {"batch": 16, **of.plan}
    plan["batch"] = min(plan["batch"], len(photos))

    def look(seed: int) -> Reading:
        looks = on_the_way(lab, of.make, photos, seed, steps, lefts=LEFTS, **plan)
        blank = lab.untrained(of.make, photos, seed)
        models = {UNTRAINED: with_running_averages(blank, lab.images(photos, "train", 128))}
        for bound in LEFTS:
            if reached := [look for look in looks if look.left <= bound]:
                models[f"{bound:g}"] = reached[0].model
        return _all_measured(lab, photos, models | {END: looks[-1].model}, seed)

    return lab.shared(f"curve-of-{name.lower().replace(', ', '-').replace(' ', '-')}", seed, (photos,), look)


def apart(numbers: Mapping[str, Tensor], images: Mapping[str, Images]) -> Reading:
    """A reading of tensors that share no memory, which files refuse: one look may have several names."""
    return Reading({k: v.clone() for k, v in numbers.items()}, {k: x.clone() for k, x in images.items()})


def _all_measured(lab: Lab, photos: Photos, models: Mapping[str, Autoencoder], seed: int) -> Reading:
    """The numbers and images of every network, "AT: WHAT", and of what stands beside them."""
    beside = without_network(lab, photos, seed)
    numbers, images = dict(beside.numbers), dict(beside.images)
    done: dict[int, Reading] = {}
    for at, network in models.items():
        if id(network) not in done:
            done[id(network)] = _looked_at(lab, photos, network, seed)
        numbers |= {f"{at}: {what}": value for what, value in done[id(network)].numbers.items()}
        images |= {f"{at}: {what}": x for what, x in done[id(network)].images.items()}
    return apart(numbers, images)


def _looked_at(lab: Lab, photos: Photos, model: Autoencoder, seed: int) -> Reading:
    """The numbers of one network, and of PCA that copies as well."""
    x, noisy = lab.images(photos), noisy_images(lab, photos, seed)
    normed = any(isinstance(module, BatchNorm) for module in model.modules())
    numbers, images = measured(model, x, noisy, list(WAYS) if normed else [RUNNING])
    if not normed:
        numbers |= {k.replace(RUNNING, way): v for k, v in numbers.items() for way in (BY_64, BY_16)}
    copy = images.pop("copy")
    rival, count = pca_that_leaves(lab, photos, mse(copy, x).mean().item())
    beside, linear = measured(rival, x, noisy, [RUNNING])
    edges = {"sharpness": sharpness(copy), "sharpness of the error": sharpness(copy - x)}
    edges["pca, sharpness"] = sharpness(linear["copy"])
    numbers |= edges | {f"pca, {k.removesuffix(f', {RUNNING}')}": v for k, v in beside.items()}
    numbers |= {"components": torch.tensor(float(count))} | copying(lab, "", model, photos)
    return Reading(numbers, images | {"copy": copy[:SHOWN]})
