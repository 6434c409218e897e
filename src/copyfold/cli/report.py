"""Report what a trained model learned, on one self-contained page: report.html, with report.json beside it.

The page begins with its conclusions in sentences. A section for each question follows, with figures and numbers;
the thresholds behind the sentences are at the end. The report measures held-out images. Training images are the
reference: baselines are fitted on them, and nearest neighbours are searched among them. If DATA is given, a
quarter of it is measured and the rest is the reference; for a run on crops, DATA is cut into a grid of crops.
Section classes of --import are on the page too.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from copyfold.cli import _device, _imports, _parsing, _photos, _screen


def command(arguments: Sequence[str]) -> int:
    """Measure every section, and write the page."""
    from copyfold import runs
    from copyfold.report.base import Section
    from copyfold.report.diagnosis import check_page, diagnose

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, seed=0)
    sections = [cls.default() for cls in _imports.offered(Section)]
    device, run = _device.chosen(options.device), runs.open(options.run)
    out = Path(options.out or run.results / "report.html")
    check_page(out)
    photos = _photos.chosen(run, options.data, options, partial(_parsing.again, "report", arguments))
    with _screen.progress() as progress:
        report = diagnose(run.model.to(device), photos, run, options.seed, progress, sections)
    _screen.log.info("%s", report.facts["photos"])
    for sentence in filter(None, report.sentences.values()):
        print(sentence)
    for path in report.save(out):
        print(path)
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("report", __doc__)
    parser.add_argument("run", help="The folder of a run, or hf://owner/name.")
    parser.add_argument("data", nargs="?", help="The images, given as for train; the run's own if omitted.")
    parser.add_argument(
        "--out", type=str | None, help="The page to write, an .html file; RUN/report.html if omitted."
    )
    parser.add_argument("--seed", type=int, default=0, help="The seed of all noise, and of the choice of images.")
    _device.flag(parser)
    _photos.flags(parser)
    return parser
