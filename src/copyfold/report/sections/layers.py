"""What information about an image its layers hold."""

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.measures import filled, psnr
from copyfold.probes.base import Reading, layers
from copyfold.probes.inversion import Inversion
from copyfold.report.base import Content, Figure, Section
from copyfold.report.commands import command
from copyfold.report.context import Context
from copyfold.types import Images

IMAGES, LAYERS = 4, 6
EXACT = 90  # dB, from which on an image is found to the precision of its numbers
# Of the change that noise of std 1/18 makes at the layer: a search that ends so near its target has arrived. Where
# the layer is about linear, what it sees is then found to 31 dB, so that a lower PSNR is not due to the search.
ARRIVED = 0.5
SAID = ("psnr", "image", "noise")
NAN = float("nan")  # where no search arrived: nothing follows about the layer


class Layers(Section):
    """What information about an image its layers hold: one row of images a layer."""

    title = "What its layers can still see"
    order = 50

    def __call__(self, context: Context) -> Content:
        """Find an image for which the layer's output is the same."""
        x = context.few(IMAGES)
        rows: dict[str, Images] = {"image": x}
        captions: dict[str, str] = {}
        numbers: dict[str, float] = {}
        again = ""
        for name in layers(context.model, x, LAYERS):
            probe = Inversion(layer=name)
            reading = probe(context.model, x, context.rng)
            found = _numbers(reading)
            numbers |= {f"{name}: {what}": value for what, value in found.items()}
            rows[name] = reading.images["found"]
            captions[name] = called(found, len(x))
            again = command(context, probe, len(x))
        figure = Figure(pictures.comparison(rows, captions), CAPTION, again)
        return Content(_text(context, x), (figure,), numbers)


CAPTION = (
    "How to read it: each image was found by starting from noise and changing it until the layer's output was "
    "as for the image at the top. Where the search arrived, its image changes the output by less than half of "
    "what weak noise (25 dB) does: the layer hardly tells the two apart, also where the one is no photo. The "
    "numbers are the PSNR of the row, the median over images (20 dB is rough, 30 dB is close). Where the search "
    "did not arrive, the output still differs, and nothing follows about the layer."
)


@torch.no_grad()
def _text(context: Context, x: Images) -> str:
    """What the rows are, and how much the output itself shows, whatever a search finds."""
    with context.model.using("running"):
        copied = psnr(context.model(filled(x)), x).median().item()
    own = f"have {copied:.1f} dB" if copied < EXACT else "are the images themselves"
    return (
        "What a layer tells apart, and what is the same to it, from the first layers to the last. The network's "
        f"copies of these images {own}: so much of an image is in its output, also where no search from noise "
        "finds it."
    )


def _numbers(reading: Reading) -> dict[str, float]:
    """The share of searches that arrived and how near, medians; and what those that did have found."""
    reached, change = reading.numbers["layer"], reading.numbers["layer, reference"]
    arrived = reached <= ARRIVED * change  # also where the layer's output is constant, and both are 0
    found = {what: _median(reading.numbers[what][arrived]) for what in SAID}
    over = torch.where(change > 0, reached / change, torch.where(reached > 0, torch.inf, 0.0))
    return found | {"layer": _median(reached), "layer over reference": _median(over), "arrived": _mean(arrived)}


def called(found: dict[str, float], count: int) -> str:
    """What stands beside a row: the PSNR of the images found, or that none was."""
    arrived = round(found["arrived"] * count)
    if not arrived:
        return "not found: the search did not arrive"
    said = f"{found['psnr']:.1f} dB" if found["psnr"] < EXACT else "the image itself"
    return said if arrived == count else f"{said}; of {count} searches {arrived} arrived"


def _median(values: Tensor) -> float:
    return values.median().item() if len(values) else NAN


def _mean(values: Tensor) -> float:
    return values.float().mean().item()
