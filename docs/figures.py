"""Run scripts of the gallery and save the pictures that a notebook would show.

    python docs/figures.py examples/lecture/plot_2_denoising.py [MORE] [--out figures]

A line that is a picture, a figure or a film is written as figures/plot_2_denoising-1.png (or .gif), -2 and so on.
`make lecture` does so for the six parts of the lecture.
"""

import argparse
import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from scraping import bytes_of


def save_figures(script: Path, out: Path) -> None:
    """Run the script and write its pictures into the folder."""
    names: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    count = 0
    for statement in ast.parse(script.read_text(encoding="utf-8"), str(script)).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), script, "exec"), names)  # noqa: S102 - the person's own script
            continue
        found = bytes_of(eval(compile(ast.Expression(statement.value), script, "eval"), names))  # noqa: S307
        if found is not None:
            count += 1
            path = out / f"{script.stem}-{count}.{found[0]}"
            path.write_bytes(found[1])
            print(path)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("figures"), help="A folder; made where it is not there.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for script in options.scripts:
        save_figures(script, options.out)


if __name__ == "__main__":
    main()
