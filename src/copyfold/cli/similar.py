"""Find the images that are most alike by the codes of a run; a table of neighbours, and a page.

The neighbours are those of every image of DATA, or with --to those of one image file. Codes are compared after
each of their numbers was standardised, by the angle between them, as distances from 0 to 2. Maps are averaged to
--grid x --grid places: with 1 it matters which features an image has, and not where; with 4 the layout counts too.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copyfold.cli import _device, _parsing, _photos, _results, _screen

if TYPE_CHECKING:
    from copyfold.data import Photos
    from copyfold.detection.alike import Similar


def command(arguments: Sequence[str]) -> int:
    """Look for neighbours, and write the table and the page."""
    from copyfold import runs
    from copyfold.data import Photos
    from copyfold.data.writing import check_table
    from copyfold.detection.alike import similar
    from copyfold.errors import UsageError

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, count=1, grid=0, show=0)
    device, run, out = _device.chosen(options.device), runs.open(options.run), Path(options.out)
    check_table(out)
    photos = _photos.chosen(run, options.data, options, partial(_parsing.again, "similar", arguments))
    if not isinstance(photos, Photos):
        raise UsageError("a run trained on a stream does not record the names of its images: give DATA to search")
    to = None if options.to is None else _photos.files(run, [options.to])
    with _screen.progress() as progress:
        found = similar(
            run.model.to(device),
            photos,
            to,
            options.count,
            layer=options.layer,
            grid=options.grid,
            progress=progress,
        )
    if to is not None:
        for row, distance in zip(found.rows[0], found.distances[0], strict=True):
            print(f"{distance:.4f}\t{found.names[row]}")
    _results.save(found, out, _page(found, photos, to, options))
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("similar", __doc__)
    parser.add_argument("run", help="The folder of a run.")
    parser.add_argument("data", nargs="?", help="The images, given as for train; the run's own if omitted.")
    parser.add_argument("--to", type=str | None, help="An image file whose neighbours are wanted.")
    parser.add_argument("--count", type=int, default=8, help="How many neighbours of each image, at most.")
    parser.add_argument(
        "--layer", default="", help="A layer of the model whose output is the code; the code itself."
    )
    parser.add_argument("--grid", type=int, default=1, help="Places that maps are averaged to, across and down.")
    parser.add_argument(
        "--out", default="similar.csv", help="The table to write, a .csv or .parquet file; the page is beside it."
    )
    parser.add_argument("--show", type=int, default=24, help="How many images, with neighbours, the page shows.")
    _device.flag(parser)
    _photos.flags(parser)
    return parser


def _page(found: "Similar", photos: "Photos", to: "Photos | None", options: Any) -> str:
    """Some images, spread evenly, with their neighbours."""
    from copyfold import pictures
    from copyfold.data.sampling import stratified
    from copyfold.detection.sets import one
    from copyfold.report.gallery import Group, Row, gallery

    source = str(photos.recipe()["data"] or "the digits")
    shown: list[Row] = []
    for query in stratified(len(found), options.show) if options.show else []:
        asked = one(photos if to is None else to, int(query))
        near = zip(found.rows[query], found.distances[query], strict=True)
        beside = [(pictures.grid(one(photos, int(row))), f"{found.names[row]}, {far:.3g}") for row, far in near]
        shown.append(Row([(pictures.grid(asked), f"{found.queries[query]}:"), *beside]))
    text = "An image, and the others that are nearest to it, each with its distance from 0 to 2."
    facts = f"{source}: {len(found.names):,} images, by the codes of the run {options.run}."
    return gallery(f"Images alike in {source}", facts, [], [Group("Neighbours", text, shown)])
