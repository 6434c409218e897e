"""Put runs beside each other: the settings that differ, the error left, and its curves, on one page and as csv.

Each run is a row: the settings in which the recipes differ, left (the squared error on held-out images over that
of the mean training image, in per cent), PSNR, training time, steps and parameters. comparison.html needs no other
file; comparison.csv has the same numbers. What the runs were trained on need not be there any more.
"""

from collections.abc import Sequence

from copyfold.cli import _parsing


def command(arguments: Sequence[str]) -> int:
    """Print the table, and write the page."""
    from copyfold.report.comparing import compare

    options = _parsing.parse(_parser(), arguments)
    found = compare(options.runs)
    table = found.table
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in found.notes:
        print(note)
    for path in found.save(options.out):
        print(path)
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("compare", __doc__)
    parser.add_argument(
        "runs", nargs="+", help="The folders of two runs or more, as in runs/*, or hf://owner/name."
    )
    parser.add_argument("--out", default="comparison", help="The folder for comparison.html and comparison.csv.")
    return parser
