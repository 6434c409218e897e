"""Say what a trained model learned, on one page that needs nothing else: report.html, and report.json beside it.

Sentences at the top say what was found; a section for each question follows, with figures and numbers, and at the
end the thresholds that the sentences follow from. Held-out images are measured, and training images are the
reference: baselines are fitted on them, and neighbours looked for among them. Of DATA, on which nothing is
trained, a quarter is measured, and the others are the reference. A section of your own, a class that comes by
--import, is on the page too.
"""

from collections.abc import Sequence
from pathlib import Path

from copyfold.cli import _device, _imports, _parsing, _photos, _screen


def command(arguments: Sequence[str]) -> int:
    """Ask everything, and write the page."""
    from copyfold import runs
    from copyfold.report.base import Section
    from copyfold.report.diagnosis import diagnose

    options = _parsing.parse(_parser(), arguments)
    sections = [cls.default() for cls in _imports.offered(Section)]
    device, run = _device.chosen(options.device), runs.open(options.run)
    out = Path(options.out or run.folder / "report.html")
    photos = _photos.chosen(run, options.data, options)
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
    parser.add_argument("run", help="The folder of a run.")
    parser.add_argument("data", nargs="?", help="What train takes as DATA; nothing: the run's own images.")
    parser.add_argument("--out", type=str | None, help="The page, an .html file; RUN/report.html.")
    parser.add_argument("--seed", type=int, default=0, help="Of every noise, and of which images are looked at.")
    _device.flag(parser)
    _photos.flags(parser)
    return parser
