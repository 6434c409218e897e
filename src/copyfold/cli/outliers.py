"""Find the images that are unlike the others, each with a score and a map of where; a page, a table, masks.

DATA is compared with the images that the run was trained on, or with those of --normal; without DATA these
are looked at themselves. What is usual is learned from training images. Above the threshold are a share --rate of
the held-out ones, which takes 3 / rate of them. The scores are classes: Combined (the default), RelativeError,
RestorationError (for a run of the recipe defects), Mahalanobis, NeighbourDistance. The table has a row for every
image: path, score, p (the share of normal images that score as high), outlier, marked (the share of pixels that
the mask has). The page shows the images of the highest scores.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.detection.base import Score

if TYPE_CHECKING:
    from copyfold.detection.finding import Outliers


def command(arguments: Sequence[str]) -> int:
    """Score every image, and write the table and the page."""
    from copyfold import runs
    from copyfold.data import Photos
    from copyfold.data.writing import check_table
    from copyfold.detection.finding import outliers
    from copyfold.errors import UsageError
    from copyfold.files import write_text

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, show=0)
    device, run, out = _device.chosen(options.device), runs.open(options.run), Path(options.out)
    check_table(out)
    again = partial(_parsing.again, "outliers", arguments, "--normal")
    normal = _photos.chosen(run, options.normal, options, again)
    photos = normal if options.data is None else _photos.given(run, options.data, options)
    if not isinstance(photos, Photos):
        raise UsageError("a run trained on a stream does not record the names of its images: give DATA to score")
    marks = None if options.marks is None else Path(options.marks)
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
    for row in found.order[: int(found.outlier.sum())][: options.show]:
        print(f"{found.scores[row]:.4g}\t{names[row]}")
    _screen.log.info(
        "%d of %d images are outliers; the threshold is %s", found.outlier.sum(), len(found), found.threshold
    )
    page, content = out.with_suffix(".html"), _page(found, str(photos.recipe()["data"] or "the digits"), options)
    print(found.save(out))
    write_text(page, content)  # which took its time, so that the table is not left with an older page
    print(page)
    if marks is not None:
        print(marks)
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
        "--rate", type=float, default=0.05, help="The share of normal images that may be called outliers."
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
        if maps is not None and found.pixels is not None:
            low = 0.5 * found.pixels.value
            beside.append((pictures.grid(pictures.heated(x, maps, low, 2 * found.pixels.value)), "where"))
        shown.append(Row(beside, _words(found, row)))
    count = int(found.outlier.sum())
    said = [
        f"{count:,} of {len(found):,} images are above the threshold of {found.threshold}.",
        f"Among as many normal images {found.threshold.rate * len(found):.3g} would be expected there.",
    ]
    figure = pictures.histograms({"these images": found.scores, "normal images, held out": found.normal}, "score")
    text = "The highest scores first."
    if found.pixels is not None:
        text += (
            " A map is yellow where a place is as unusual as the most unusual of normal images, and red where it "
            "is twice that."
        )
    facts = f"{source}: {len(found):,} images, scored by {options.score} with the run {options.run}."
    return gallery(
        f"Outliers of {source}", facts, said, [Group("The images", text, shown)] if shown else [], figure,
        f"How the scores are distributed; the threshold is {found.threshold.value:.4g}.",
    )  # fmt: skip


def _words(found: "Outliers", row: int) -> str:
    label = (
        ""
        if found.labels is None or found.classes is None
        else f", filed under {found.classes[found.labels[row]]}"
    )
    called = "an outlier" if found.outlier[row] else "not above the threshold"
    return f"score {found.scores[row]:.4g}, {called}; p = {found.p[row]:.3g}{label}"
