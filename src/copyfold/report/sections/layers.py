"""What information about an image its layers hold."""

from copyfold import pictures
from copyfold.probes.base import layers
from copyfold.probes.inversion import Inversion
from copyfold.report.base import Content, Figure, Section
from copyfold.report.commands import command
from copyfold.report.context import Context
from copyfold.types import Images

IMAGES, LAYERS = 4, 6
EXACT = 90  # dB, from which on an image is found to the precision of its numbers
SAID = ("psnr", "image", "layer", "noise")


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
            medians = {what: reading.numbers[what].median().item() for what in SAID}
            numbers |= {f"{name}: {what}": value for what, value in medians.items()}
            rows[name] = reading.images["found"]
            captions[name] = f"{medians['psnr']:.1f} dB" if medians["psnr"] < EXACT else "the image itself"
            again = command(context, probe)
        text = "What a layer tells apart, and what is the same to it, from the first layers to the last."
        caption = (
            "How to read it: each image was found by starting from noise and changing it until the layer's output "
            "was as for the image at the top. What is missing or noisy in a row is information that the layer has "
            "lost. The numbers are the PSNR of the row, the median over images (20 dB is rough, 30 dB is close)."
        )
        return Content(text, (Figure(pictures.comparison(rows, captions), caption, again),), numbers)
