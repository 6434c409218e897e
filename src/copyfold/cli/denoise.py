"""Denoise photographs; every result has its photograph's size, depth and file format.

By the denoiser of the package copyfold-weights, which needs no level of noise, or by the model of a run of your
own, or on the Hub (hf://owner/name), given before the photographs. A convolutional model runs at the photograph's
size, in tiles above one megapixel; a fully connected one at the size that it was trained at. A convolutional model
that was trained on crops (`train --crop`) so sees photographs at the scale of its training. A model of grey images
sees colour as luminance and two differences of colours. --strength below 1 keeps some of the noise, and of the
texture that is taken for it; --strength sure leaves less error after a training on noisy images alone. --ensemble
takes eight times as long and leaves a little less error after a training on turned images (`train --turn`).

EXIF data is kept, except the location. All pages of a TIFF are denoised; of an animation the first frame is. What
will not come back as it was is said before the first photograph.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from copyfold.cli import _device, _parsing, _screen
from copyfold.data.reading.folders import IMAGES, files_below
from copyfold.errors import CopyfoldError, DataError, UsageError
from copyfold.files import Full, real
from copyfold.types import Statistics

if TYPE_CHECKING:
    from copyfold.cli._denoiser import Denoiser

NAMED = 5  # images named in the error message


def command(arguments: Sequence[str]) -> int:
    """Denoise every image; those that cannot be read or written are skipped and reported at the end."""
    from copyfold.cli import _denoiser
    from copyfold.data.photographs import differences
    from copyfold.restoration import restore_file

    options = _parsing.parse(_parser(), arguments)
    if options.strength != "sure" and not 0 <= options.strength <= 1:
        raise UsageError(f"--strength {options.strength:g} is invalid: expected a number from 0 to 1, or sure")
    device = _device.chosen(options.device)
    denoiser, images = _denoiser.given(options.image, "denoise")
    model, out = denoiser.model.to(device), Path(options.out)
    sources = _sources(images, out)
    _denoiser.warn(denoiser, options.statistics)
    if model.multiple is None:
        crops = denoiser.run is not None and denoiser.run.recipe.get("crop") is not None
        _screen.log.info(
            "this model only takes images of %dx%d: photographs are scaled to that size and back%s",
            *model.shape[1:],
            ", and it was trained on crops, which are not scaled: a convolutional model fits" if crops else "",
        )
    _advise(denoiser, options.strength, options.ensemble)
    unread: list[str] = []
    unwritten: list[str] = []
    with _screen.progress() as progress:
        for sentence in differences([source for source, _ in sources], progress, model.shape[0]):
            _screen.log.info("%s", sentence)
        for done, (source, name) in enumerate(sources):
            progress("denoising", done, len(sources), {})
            try:
                level = restore_file(
                    model,
                    source,
                    out / name,
                    options.statistics,
                    denoiser.range,
                    options.strength,
                    progress,
                    options.ensemble,
                )
                print(out / name)
                if math.isfinite(level):
                    unchanged = options.strength == "sure" and level == 0
                    note = ": --strength sure leaves it unchanged" if unchanged else ""
                    _screen.log.info("%s: noise of std %.1f of 255, as estimated%s", source, 255 * level, note)
            except CopyfoldError as error:
                if isinstance(error, Full) or len(sources) == 1:  # the others cannot be written either
                    raise
                _screen.log.info("%s", error)
                (unread if isinstance(error, DataError) else unwritten).append(str(source))
    return _ended(unread, unwritten, len(sources))


def _advise(denoiser: "Denoiser", strength: float | str, ensemble: bool) -> None:
    """Say where another strength suits how the network learned, and where an ensemble does not."""
    if denoiser.from_noisy and strength == 1:
        _screen.log.info(
            "this network learned from noisy images alone: --strength sure leaves less error where the noise is "
            "white and of one level, as shot noise is not"
        )
    if ensemble and not denoiser.turned:
        _screen.log.info("this network did not learn from turned images (--turn): --ensemble may leave more error")


def _ended(unread: list[str], unwritten: list[str], count: int) -> int:
    """The exit code; DataError where images could not be read, CopyfoldError where some could not be written."""
    if not unread and not unwritten:
        return 0
    failed = [*unread, *unwritten]
    named = ", ".join(failed[:NAMED]) + (" and others" if len(failed) > NAMED else "")
    what = f"{len(unread)} of {count} images could not be read" if unread else ""
    if unwritten:
        what += f", and {len(unwritten)}" if unread else f"{len(unwritten)} of {count} images"
        what += " could not be written"
    raise (CopyfoldError if unwritten else DataError)(f"{what}; the others are done: {named}")


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("denoise", __doc__)
    parser.usage = "copyfold denoise [RUN] IMAGE ... [options]"
    parser.add_argument(
        "image",
        nargs="+",
        help="Image files, or folders of them; the first may be a run's folder, or hf://owner/name.",
    )
    parser.add_argument("--out", default="denoised", help="The folder for the results.")
    parser.add_argument(
        "--statistics",
        type=Statistics,
        default="running",
        help="The statistics that batch norm uses: running (a result depends on its photograph alone) or batch.",
    )
    parser.add_argument(
        "--strength",
        type=float | Literal["sure"],
        default=1.0,
        help="How much of the change is made, from 0 (none) to 1 (all), or, for networks trained on noisy images"
        " alone, sure: at each place as much as leaves the least error by Stein's estimate. For white noise of one"
        " level, not shot noise; twice as slow.",
    )
    parser.add_argument(
        "--ensemble",
        action=_parsing.ActionYesNo(no_prefix="no-"),
        default=False,
        help="Take the mean over the eight turns and flips of the photograph, for networks that learned from"
        " turned images: .08 dB better by that of copyfold-weights, eight times as slow.",
    )
    _device.flag(parser)
    return parser


def _sources(given: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Every image file given, with its name in --out; no result may overwrite another or a photograph."""
    found: list[tuple[Path, Path]] = []
    for path in given:
        if path.is_dir():
            inside = [(path / name, Path(name)) for name, *_ in files_below(path, IMAGES)]
            if not inside:
                raise DataError(f"the folder {path} contains no images")
            found += inside
        else:
            found.append((path, Path(path.name)))
    names = [name for _, name in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two of the images are called {twice[0]}: denoise them into different folders")
    if own := [source for source, name in found if real(out / name) == real(source)]:
        raise UsageError(f"--out {out} is the folder of {own[0]}, which would be overwritten: give another folder")
    return found
