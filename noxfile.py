"""The tests with the oldest and the newest torch that pyproject.toml allows, and what needs no tests: `nox`.

One session alone: nox -s lint, or nox -s "tests(torch='oldest')"; words after -- go to pytest. By name only, as
they take long: nox -s coverage, and nox -s mutations -- FILE.
"""

import argparse
import json
import random
import re
import shutil
import sqlite3
from pathlib import Path

import nox

NEEDED = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
(ALLOWED,) = (needed for needed in NEEDED if needed.startswith("torch>="))
WANTED = {"oldest": re.sub(r">=([\d.]+),.*", r"==\1.*", ALLOWED), "newest": ALLOWED}

BRANCHES = 0.9
"""The share of the branches of src that the quick tests take, at least."""
UNDER_COVERAGE = (
    "tests/e2e/test_bad_input.py::test_a_full_disk_keeps_the_previous_checkpoint",  # coverage's file too
    "tests/unit/studio/test_trainings.py::test_a_new_studio_finds_them_again",  # a signal while coverage begins
)
"""Tests that coverage disturbs."""
MUTATED = {
    "models": "tests/unit/test_models.py tests/unit/test_attention.py tests/unit/test_variational.py "
    "tests/unit/test_adoption.py tests/unit/test_classifiers.py tests/unit/test_diagrams.py "
    "tests/unit/test_own_classes.py tests/laws",
    "objectives": "tests/unit/test_objectives.py tests/unit/test_blind_spot.py "
    "tests/unit/test_noise_prediction.py tests/unit/test_corrections_objectives.py",
    "samplers": "tests/unit/test_samplers.py tests/unit/test_latent_samplers.py tests/unit/test_ascent.py",
    "probes": "tests/unit/test_geometry.py tests/unit/test_inversion.py tests/unit/test_denoising_probe.py "
    "tests/unit/test_stability.py tests/unit/test_latent.py tests/unit/test_quality.py tests/unit/test_nearest.py "
    "tests/unit/test_baselines.py tests/unit/test_eigenbasis.py tests/unit/test_variational.py "
    "tests/unit/test_missing.py",
    "studies/statistics.py": "tests/unit/studies/test_statistics.py "
    "tests/unit/studies/test_coverage_of_intervals.py",
}
"""What is mutated, below src/copyfold, and the tests that should notice."""
CONFIG = """
[cosmic-ray]
module-path = "src/copyfold/{file}"
timeout = 300.0
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/ReplaceBinaryOperator_(BitOr_.*|.*_(BitOr|BitAnd|BitXor|LShift|RShift))"]
"""


@nox.session
@nox.parametrize("torch", [*WANTED])
def tests(session: nox.Session, torch: str) -> None:
    """Test the mathematics and the laws with one end of the range of torch; all else as constraints.txt has it."""
    pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    others = Path(session.create_tmp(), "constraints.txt")
    others.write_text("\n".join(pin for pin in pins if not pin.startswith("torch==")) + "\n", encoding="utf-8")
    session.install("--constraint", str(others.resolve()), WANTED[torch], "--editable", ".[dev]")
    session.run("python", "-c", "import torch; print('torch', torch.__version__)")
    session.run("pytest", "-n", "2", *(session.posargs or ("tests/unit", "tests/laws")))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and layers, as make lint, make types and make layers do."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyright", "--pythonpath", str(Path(session.bin, "python")))
    session.run("lint-imports")


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure the branches of src that the quick tests take, in the processes that they start too."""
    packages = ("coverage>=7.10", "pytest-cov>=7")
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]", *packages)
    reports = ("--cov-report=json:coverage.json", "--cov-report=term-missing:skip-covered")
    left_out = [option for test in UNDER_COVERAGE for option in ("--deselect", test)]
    session.run("pytest", "-n", "2", "--cov", *reports, *left_out, *session.posargs)
    totals = json.loads(Path("coverage.json").read_text(encoding="utf-8"))["totals"]
    share = totals["covered_branches"] / totals["num_branches"]
    session.log(f"{share:.1%} of {totals['num_branches']:,} branches")
    if share < BRANCHES:
        session.error(f"expected at least {BRANCHES:.0%} of the branches: coverage.json says which are missing")


@nox.session(default=False)
def mutations(session: nox.Session) -> None:
    """Change one operator or number after the other, by cosmic-ray, and show the changes that no test notices.

    nox -s mutations -- samplers/walk.py changes one file: some seconds a change. All of them take days;
    nox -s mutations -- --sample 50 tries 50 of each folder, drawn by a fixed seed.
    """
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]", "cosmic-ray>=8.4")
    work = Path(session.create_tmp(), "mutated").absolute()  # files are changed in place
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(".", work, ignore=shutil.ignore_patterns(".*", "__pycache__", "results", "demo", "figures"))
    given = argparse.ArgumentParser("nox -s mutations --")
    given.add_argument("files", nargs="*", metavar="FILE")
    given.add_argument("--sample", type=int, metavar="N")
    options = given.parse_args(session.posargs)
    for file in options.files or MUTATED:
        tests = next(tests for start, tests in MUTATED.items() if file.startswith(start))
        command = f"{Path(session.bin, 'python').absolute()} -m pytest -x -q -p no:cacheprovider {tests}"
        (work / "mutations.toml").write_text(CONFIG.format(file=file, command=command), encoding="utf-8")
        session.chdir(work)
        env = {"PYTHONPATH": str(work / "src"), "OMP_NUM_THREADS": "1"}
        session.run("cosmic-ray", "baseline", "mutations.toml", env=env)
        session.run("cosmic-ray", "init", "--force", "mutations.toml", "mutations.sqlite", env=env)
        # not the types of arguments, nor operators of bits, which numbers lack
        session.run("cr-filter-operators", "mutations.sqlite", "mutations.toml", env=env)
        if options.sample:
            sample(work / "mutations.sqlite", options.sample)
        session.run("cosmic-ray", "exec", "mutations.toml", "mutations.sqlite", env=env)
        session.run("cr-report", "--show-diff", "--surviving-only", "mutations.sqlite", env=env)
        session.chdir(session.invoked_from)


def sample(file: Path, count: int) -> None:
    """Leave in a database of cosmic-ray only so many of the changes to be tried: the same every time."""
    with sqlite3.connect(file) as database:
        left = database.execute(
            "SELECT job_id FROM mutation_specs WHERE job_id NOT IN (SELECT job_id FROM work_results) "
            "ORDER BY module_path, operator_name, operator_args, occurrence"
        ).fetchall()
        random.Random(0).shuffle(left)
        filtered = database.execute("SELECT job_id FROM work_results").fetchall()
        for table in ("mutation_specs", "work_items", "work_results"):
            database.executemany(f"DELETE FROM {table} WHERE job_id = ?", left[count:] + filtered)  # noqa: S608
