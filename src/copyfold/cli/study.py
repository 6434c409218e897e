"""Measure a claim of the texts again: train what it compares, with a control, and see whether it holds.

Writes OUT/BUDGET/NAME with finding.json, figures and films, and prints the verdict. Models are kept, and shared
between studies and between commands with the same OUT, so that what was stopped goes on where it was; what has its
finding already is not measured again without --again. One study that fails does not stop the others; the exit code
is then that of the first failure.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from copyfold.cli import _imports, _parsing, _screen


def command(arguments: Sequence[str]) -> int:
    """Carry out every study that was asked for."""
    from copyfold import catalogue
    from copyfold.errors import UsageError
    from copyfold.studies import runner
    from copyfold.studies.base import Study
    from copyfold.studies.budget import BUDGETS
    from copyfold.studies.datasets import sources
    from copyfold.studies.lab import Lab

    options = _parsing.parse(_parser(list(BUDGETS)), arguments)
    own = _imports.offered(Study)
    known = runner.studies(own)
    if options.list:
        for name, study in known.items():
            print(f"{study.claim:<15} {name:<34} {study.said()}")
        return 0
    if bool(options.names) == options.all:
        raise UsageError("give the names of studies, or --all; --list shows them")
    chosen = list(known.values()) if options.all else runner.find(options.names, own)
    out, failed = Path(options.out), 0
    told = [f"--data={_told(word)}" for word in options.data]
    with _screen.progress() as progress:
        lab = Lab(BUDGETS[options.budget], sources(options.data), out / ".models", progress)
        for study in chosen:
            folder = out / options.budget / study.name()
            brought = [] if catalogue.own(type(study)) else [f"--import={type(study).__module__}"]
            again = shlex.join(["copyfold", "study", *brought, study.name(), "--budget", options.budget, *told])
            try:
                if options.again or not (folder / "finding.json").is_file():
                    verdict = runner.run(study, lab, out, again)
                else:
                    verdict = runner.read(folder)["verdict"]
            except Exception as error:  # a fault of one study must not lose the others
                if len(chosen) == 1:
                    raise
                failed = failed or _left_out(study.name(), error)
                continue
            except KeyboardInterrupt as stop:
                stop.args = ("stopped, and what was trained is kept: give the same command again to go on",)
                raise
            print(f"{study.claim:<15} {study.name():<34} {verdict:<10} {folder}", flush=True)
    return failed


def _left_out(name: str, error: Exception) -> int:
    """Say why a study has no finding; the exit code of that."""
    from copyfold.errors import CopyfoldError

    ours = isinstance(error, CopyfoldError)
    fault = f"{type(error).__name__}: {error} (a fault of copyfold: see it with --debug, alone)"
    why = f"{error}" if ours else fault
    _screen.log.error("%s is left out: %s", name, " ".join(why.split()))
    return error.exit_code if ours else 1


def _told(word: str) -> str:
    """What --data said, without the folders of this machine: it is written into findings."""
    name, equals, source = word.partition("=")
    return word if word == "hub" or source.startswith("hf://") else f"{name}=SOURCE" if equals else "ROOT"


def _parser(budgets: list[str]) -> _parsing.Parser:
    parser = _parsing.parser("study", __doc__)
    parser.add_argument(
        "names", nargs="*", default=[], help="Names of studies, or of claims, as T5; --list shows them."
    )
    parser.add_argument("--all", action="store_true", help="Every study.")
    parser.add_argument("--list", action="store_true", help="Show what there is.")
    parser.add_argument(
        "--budget",
        choices=budgets,
        default="tiny",
        help="tiny: minutes for all, to see that they run, decides nothing; cpu: hours on two cores; gpu.",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        help="A folder with the sets landscapes, cifar10 and fashion_mnist as local datasets; or NAME=SOURCE, "
        "such as landscapes=my/photos; or hub, which fetches them. Digits stand in for what is not given.",
    )
    parser.add_argument("--out", default="results", help="Where findings are written.")
    parser.add_argument("--again", action="store_true", help="Measure again what has its finding already.")
    return parser
