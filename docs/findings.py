"""Write docs/findings.md and its pages from results/: python docs/findings.py [--budget cpu]."""

import argparse
from pathlib import Path

from copyfold.studies import pages

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--budget", default="cpu")
here = Path(__file__).parent
for path in pages.write(here.parent / "results", here, parser.parse_args().budget):
    print(path.relative_to(here.parent))
