"""Describe images: sizes, modes, values, duplicates, splits, unreadable files.

Every image is decoded, so that truncated files are found before training. Said is also what is not read, which
images would be trained on and held out, and the command that does it.
"""

from collections.abc import Sequence

from copyfold.cli import _parsing, _screen


def command(arguments: Sequence[str]) -> int:
    """Survey the data; exit code 3 where no image can be used."""
    from copyfold.data import survey
    from copyfold.errors import DataError

    options = _parsing.parse(_parser(), arguments)
    with _screen.progress() as progress:
        found = survey(options.data, layout=options.layout, column=options.column, progress=progress)
    print("\n".join(found.lines()))
    if found.count == len(found.unreadable):
        raise DataError(f"{found.where}: no image can be used; the reasons are above")
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("data", __doc__)
    parser.add_argument("data", nargs="?", help="The images, given as for train; the digits if omitted.")
    parser.add_argument("--layout", type=str | None, help="How to read an array: NHW, NCHW, NHWC or lsun.")
    parser.add_argument(
        "--column", type=str | None, help="The column of images of a table, or the array of an .npz."
    )
    return parser
