"""Find the images that are unlike the others, each with a score and a map of where; a page, a table, masks.

DATA is compared with the images that the run was trained on, or with those of --normal; without DATA these
are looked at themselves. What is usual is learned from training images. Above the threshold are a share --rate of
the held-out ones, which takes 3 / rate of them; if it is omitted, the smallest of 5, 10 and 20 % that there are
enough for. With fewer than 15 the images are ranked, without a threshold, and the first five are printed. The
scores are classes: Combined (the default), RelativeError, RestorationError (for a run of the recipe defects),
Mahalanobis, NeighbourDistance. The table has a row for every image: path, split (where it is one of the normal
images), score, p (the share of normal images that score as high), outlier, rate (empty without a threshold),
marked (the share of pixels that the mask has). The page shows the images of the highest scores (--show), with
their maps.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from copyfold.cli import _device, _parsing, _photos, _results, _screen
from copyfold.detection.base import Score

if TYPE_CHECKING:
    from copyfold.detection.finding import Outliers

FIRST = 5  # images whose scores are printed where there is no threshold


def command(arguments: Sequence[str]) -> int:
    """Score every image, and write the table and the page."""
    from copyfold import runs
    from copyfold.data import Photos
    from copyfold.data.writing import check_table
    from copyfold.detection.finding import outliers
    from copyfold.errors import UsageError
    from copyfold.files import check_folder

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, show=0)
    device, run, out = _device.chosen(options.device), runs.open(options.run), Path(options.out)
    check_table(out)
    marks = None if options.marks is None else Path(options.marks)
    if marks is not None:
        check_folder(marks)
    again = partial(_parsing.again, "outliers", arguments, "--normal")
    normal = _photos.chosen(run, options.normal, options, again)
    photos = normal if options.data is None else _photos.given(run, options.data, options)
    if not isinstance(photos, Photos):
        raise UsageError("a run trained on a stream does not record the names of its images: give DATA to score")
    with _screen.progress() as progress:
        found = outliers(
            run.model.to(device),
            photos,
            normal,
            score=options.score,
            rate=options.rate,
            marks=marks,
            progress=progress,
        )
    names = found.names
    count = FIRST if found.threshold is None else int(found.outlier.sum())
    for row in found.order[: min(count, options.show)]:
        print(f"{found.scores[row]:.4g}\t{names[row]}")
    for sentence in _said(found):
        _screen.log.info("%s", sentence)
    _results.save(found, out, _page(found, str(photos.recipe()["data"] or "the digits"), options))
    if marks is not None and found.marked is not None:
        if found.marked.any():
            print(marks)
        else:
            _screen.log.info("nothing is marked: no map is above its threshold, and no mask is written")
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("outliers", __doc__)
    parser.add_argument("run", help="The folder of a run, trained on normal images.")
    parser.add_argument(
        "data", nargs="?", help="The images to score, given as for train; the run's own if omitted."
    )
    parser.add_argument(
        "--normal",
        type=str | None,
        help="Normal images to compare with; those that the run was trained on if omitted.",
    )
    parser.add_choice("--score", Score, "The score", "Combined")
    parser.add_argument(
        "--rate",
        type=float | None,
        help="The share of normal images that may be called outliers; if omitted the smallest of 0.05, 0.1 and "
        "0.2 that the held-out ones suffice for.",
    )
    parser.add_argument(
        "--out", default="outliers.csv", help="The table to write, a .csv or .parquet file; the page is beside it."
    )
    parser.add_argument(
        "--marks", type=str | None, help="A folder for a PNG mask of every image with marked pixels."
    )
    parser.add_argument("--show", type=int, default=40, help="How many images the page shows.")
    _device.flag(parser)
    _photos.flags(parser)
    return parser


def _page(found: "Outliers", source: str, options: Any) -> str:
    """The images of the highest scores, with their maps, and how the scores are distributed."""
    from copyfold import pictures
    from copyfold.report.gallery import Group, Row, gallery

    rows = found.order[: options.show]
    shown: list[Row] = []
    for row in rows.tolist():  # one at a time: images may be large
        x, maps = found.maps([row])
        beside = [(pictures.grid(x), str(found.names[row]))]
        if maps is not None and found.heat is not None:
            hot = pictures.heated(x, maps, found.heat / 2, 2 * found.heat)
            beside.append((pictures.grid(hot), "where"))
        shown.append(Row(beside, _words(found, row)))
    said = [sentence[0].upper() + sentence[1:] + "." for sentence in filter(None, [found.why, *_said(found)])]
    figure = pictures.histograms({"these images": found.scores, "normal images, held out": found.normal}, "score")
    text = "The highest scores first."
    if found.heat is not None:
        text += (
            " A map is yellow where a place is as unusual as the most unusual of normal images, and red where it "
            "is twice that."
        )
    facts = f"{source}: {len(found):,} images, scored by {options.score} with the run {options.run}."
    return gallery(
        f"Outliers of {source}", facts, said, [Group("The images", text, shown)] if shown else [], figure,
        "How the scores are distributed"
        + ("." if found.threshold is None else f"; the threshold is {found.threshold.value:.4g}."),
    )  # fmt: skip


def _said(found: "Outliers") -> Iterator[str]:
    """How many images are above the threshold, and among which of them the stated rate means something."""
    splits = np.array([""] * len(found) if found.splits is None else found.splits)
    trained, held, new = (int((splits == part).sum()) for part in ("train", "held_out", ""))
    lower = f"{trained:,} of these images were trained on, and may score lower than others"
    if found.threshold is None:
        if trained:
            yield f"{lower}: compare those that were not with each other"
        return
    yield f"{found.outlier.sum():,} of {len(found):,} images are above the threshold of {found.threshold}"
    if trained:
        yield f"{lower}: the rate does not hold for them"
    if held:
        yield (
            f"{held:,} are held-out images that the threshold is from: how many of these are above it follows "
            "from the rate alone"
        )
    if new:
        above = found.outlier[splits == ""].sum()
        which = f"of the other {new:,} images {above:,} are above it; " if new < len(found) else ""
        expected = f"{found.threshold.rate * new:.3g} would be expected there"
        yield f"{which}among as many normal images that were not trained on {expected}"


def _words(found: "Outliers", row: int) -> str:
    label = (
        ""
        if found.labels is None or found.classes is None
        else f", filed under {found.classes[found.labels[row]]}"
    )
    called = (
        ", an outlier" if found.outlier[row] else "" if found.threshold is None else ", not above the threshold"
    )
    split = {"train": ", trained on", "held_out": ", held out", "": ""}[found.splits[row] if found.splits else ""]
    return f"score {found.scores[row]:.4g}{called}{split}; p = {found.p[row]:.3g}{label}"
