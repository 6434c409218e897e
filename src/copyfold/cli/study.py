"""Test a claim of the texts: train the models that it compares, with a control, and say whether it holds.

Writes OUT/BUDGET/NAME with finding.json, figures and films, and prints the verdict. Trained models are cached in
OUT and shared between studies and commands, so that an interrupted study continues; so is what several studies
read, in OUT/BUDGET/shared. A study with a finding is not measured again without --again, unless that is of 0.1.0
and the study has been redesigned since; --seeds adds seeds to it. If a study fails, the others still run, and the
exit code is that of the first failure; with --minutes it is 75 where there is more to do. The same command in
several processes shares the work: each goes on with a study that no other is at, and waits where there is none.
"""

import shlex
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copyfold.cli import _imports, _parsing, _screen

if TYPE_CHECKING:
    from copyfold.studies.base import Study
    from copyfold.studies.lab import Lab


def command(arguments: Sequence[str]) -> int:
    """Run every study named, and print its verdict."""
    from copyfold.errors import UsageError, at_least, option
    from copyfold.studies import runner
    from copyfold.studies.base import Study
    from copyfold.studies.budget import BUDGETS
    from copyfold.studies.datasets import sources
    from copyfold.studies.kept import SHARED
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
    at_least(1, **{option("seeds"): 1 if options.seeds is None else options.seeds})
    at_least(0, **{option("first_seed"): options.first_seed})
    if options.minutes is not None and not options.minutes > 0:
        raise UsageError(f"{option('minutes', options.minutes)} is invalid: expected a number above 0")
    chosen = list(known.values()) if options.all else runner.find(options.names, own)
    out = Path(options.out)
    if options.budget == "tiny":
        _screen.log.info("--budget tiny only tests that a study runs: its networks learn nothing")
    with _screen.progress() as progress:
        lab = Lab(
            BUDGETS[options.budget], sources(options.data), out / ".models", progress, options.minutes,
            readings=out / options.budget / SHARED,
        )  # fmt: skip
        return _measured(chosen, lab, out, options)


def _measured(chosen: "list[Study]", lab: "Lab", out: Path, options: Any) -> int:
    """Measure all, each where no other process is at it; the exit code of the first that failed."""
    from copyfold.studies import runner
    from copyfold.studies.lab import Busy, Paused

    waiting, failed, busy = deque(chosen), 0, 0  # busy: how many in a row another process was at
    while waiting:
        study = waiting.popleft()
        lab.patient = busy >= len(waiting)
        try:
            verdict = runner.measured(
                study, lab, out, _again(study, options), options.seeds, options.first_seed, options.again
            )
        except Busy:
            waiting.append(study)
            busy += 1
            continue
        except Paused:
            raise
        except Exception as error:  # a failed study must not stop the others
            if len(chosen) == 1:
                raise
            failed = failed or _skipped(study.name(), error)
        except KeyboardInterrupt as stop:
            stop.args = ("stopped; trained models are kept: run the same command again to continue",)
            raise
        else:
            folder = out / lab.budget.name / study.name()
            print(f"{study.claim:<15} {study.name():<34} {verdict:<13} {folder}", flush=True)
        busy = 0
    return failed


def _again(study: "Study", options: Any) -> str:
    """The command that measures a study again."""
    from copyfold import catalogue

    told = [f"--data={_told(word)}" for word in options.data]
    brought = [] if catalogue.own(type(study)) else [f"--import={type(study).__module__}"]
    command = shlex.join(["copyfold", "study", *brought, study.name(), "--budget", options.budget, *told])
    command += f" --seeds {options.seeds}" * (options.seeds is not None)
    return command + f" --first-seed {options.first_seed}" * (options.first_seed > 0)


def _skipped(name: str, error: Exception) -> int:
    """Say why a study has no finding; return the exit code."""
    from copyfold.errors import CopyfoldError

    ours = isinstance(error, CopyfoldError)
    fault = f"{type(error).__name__}: {error} (a bug in copyfold: run this study alone with --debug)"
    why = f"{error}" if ours else fault
    _screen.log.error("%s is skipped: %s", name, " ".join(why.split()))
    return error.exit_code if ours else 1


def _told(word: str) -> str:
    """The value of --data without local folders, since it is written into findings."""
    name, equals, source = word.partition("=")
    return word if word == "hub" or source.startswith("hf://") else f"{name}=SOURCE" if equals else "ROOT"


def _parser(budgets: list[str]) -> _parsing.Parser:
    parser = _parsing.parser("study", __doc__)
    parser.add_argument(
        "names", nargs="*", default=[], help="Names of studies, or of claims, such as T5; --list shows them."
    )
    parser.add_argument("--all", action="store_true", help="Run every study.")
    parser.add_argument("--list", action="store_true", help="List the studies and their claims.")
    parser.add_argument(
        "--budget",
        choices=budgets,
        default="tiny",
        help="tiny: minutes for all studies, which only tests that they run; cpu: hours on two cores; gpu.",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        help="A folder with the local datasets landscapes, cifar10 and fashion_mnist; or NAME=SOURCE, such as "
        "landscapes=my/photos; or hub, which downloads them. The digits replace a dataset that is not given.",
    )
    parser.add_argument("--out", default="results", help="The folder for the findings.")
    parser.add_argument(
        "--again",
        action="store_true",
        help="Forget the findings and seeds of these studies, and measure them again. What studies share is kept: "
        "another OUT measures that again too.",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        help="Trainings of every network, as many as the budget or the study says unless given. Those that a "
        "finding lacks are added to it, where it was measured by the same code and with the same settings.",
    )
    parser.add_argument(
        "--first-seed",
        type=int,
        default=0,
        help="The first of the seeds, for a second measurement with others, in another OUT.",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="Stop after so many: trainings where they are, measuring before the next seed. The same command, "
        "without --again, goes on; its exit code is 75 until all is done.",
    )
    return parser
