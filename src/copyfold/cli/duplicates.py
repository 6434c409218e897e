"""Find images that are there twice: equal ones, nearly equal ones, and pairs that are alike. Nothing is deleted.

Exact: equal in every pixel. Near: the same picture encoded again, in another size, cropped a little, or
brightened; by small grey versions, without a model. Similar: the other pairs that are nearest to each other, at
most 0.6 apart. With --run pairs are similar by the codes of its model, and neighbours in these are looked at for
near ones as well. Mirrored and turned images are not found. The table has a row for every image of a group: kind,
group, path, distance (the largest in the group, from 0 to 2); the page shows the groups.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from copyfold.cli import _device, _parsing, _results, _screen

if TYPE_CHECKING:
    from copyfold.detection.copies import Duplicates

BESIDE = 8  # images of a group that the page shows


def command(arguments: Sequence[str]) -> int:
    """Look for duplicates, and write the table and the page."""
    from copyfold import runs
    from copyfold.data.writing import check_table
    from copyfold.detection.copies import duplicates

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, show=0, similar=0)
    device, out = _device.chosen(options.device), Path(options.out)
    check_table(out)
    model = None if options.run is None else runs.open(options.run).model.to(device)
    taken = {name: options[name] for name in ("near", "similar", "limit", "skip_bad", "layout", "column")}
    with _screen.progress() as progress:
        found = duplicates(options.data, model, **taken, progress=progress)
    print(f"groups: exact {len(found.exact)}, near {len(found.near)}; pairs: similar {len(found.similar)}")
    _results.save(found, out, _page(found, options.data, options.show, options.run is not None))
    return 0


def _parser() -> _parsing.Parser:
    from copyfold.detection.copies import duplicates

    parser = _parsing.parser("duplicates", __doc__)
    parser.add_argument("data", help="The images, given as for train.")
    parser.add_argument("--run", type=str | None, help="The folder of a run, whose codes say what is similar.")
    parser.add_argument(
        "--out",
        default="duplicates.csv",
        help="The table to write, a .csv or .parquet file; the page is beside it.",
    )
    parser.add_argument("--show", type=int, default=50, help="How many groups of each kind the page shows.")
    _device.flag(parser)
    _parsing.takes(
        parser, duplicates, "near", "similar", "limit", "skip_bad", "layout", "column", title="what is compared"
    )
    return parser


def _page(found: "Duplicates", source: str, most: int, by_code: bool) -> str:
    """The groups of every kind."""
    from copyfold import pictures
    from copyfold.report.gallery import Group, Row, gallery

    texts = {
        "exact": "Equal in every pixel.",
        "near": "One picture: encoded again, resized, cropped a little, or brightened.",
        "similar": f"Other pairs, the nearest first, by {'their codes' if by_code else 'small grey versions'}.",
    }
    rows: dict[str, list[Row]] = {kind: [] for kind in texts}
    counts = dict.fromkeys(texts, 0)
    for kind, group, distance in found.groups():
        counts[kind] += 1
        if len(rows[kind]) < most:
            beside = [(pictures.grid(found.image(row)), found.names[row]) for row in group[:BESIDE]]
            more = f"{len(group)} images" if len(group) > BESIDE else ""
            rows[kind].append(Row(beside, f"{more} distance {distance:.3g}".strip() if kind != "exact" else more))
    equal, nearly = (sum(map(len, groups)) for groups in (found.exact, found.near))
    said = [
        f"Of {len(found):,} images {equal:,} are equal to another one, and {nearly:,} nearly so.",
        "Nothing is deleted. Images are shown as squares.",
    ]
    groups = [Group(f"{kind.capitalize()} ({counts[kind]:,})", texts[kind], rows[kind]) for kind in texts]
    return gallery(f"Duplicates in {source}", f"{len(found):,} images.", said, groups)
