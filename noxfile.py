"""The tests with the oldest and the newest torch that pyproject.toml allows, and what needs no tests: `nox`.

One session alone: nox -s lint, or nox -s "tests(torch='oldest')"; words after -- go to pytest.
"""

import re
from pathlib import Path

import nox

NEEDED = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
(ALLOWED,) = (needed for needed in NEEDED if needed.startswith("torch>="))
WANTED = {"oldest": re.sub(r">=([\d.]+),.*", r"==\1.*", ALLOWED), "newest": ALLOWED}


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
