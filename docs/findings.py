"""Write docs/findings.md, its pages, and the head of the table in the README from results/.

python docs/findings.py [--budget cpu]
"""

import argparse
import re
from pathlib import Path

from copyfold.studies import pages

HERE = Path(__file__).parent
MARKS = re.compile(r"(?<=<!-- findings -->\n).*?(?=<!-- end of findings -->)", re.DOTALL)
SHOWN = 12

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--budget", default="cpu")
budget, results, readme = parser.parse_args().budget, HERE.parent / "results", HERE.parent / "README.md"
for path in pages.write(results, HERE, budget):
    print(path.relative_to(HERE.parent))
for name in pages.orphans(results, budget):
    print(f"{name} is left out: results/{budget}/{name} has a finding, and no study here is called so")
head = pages.head(results, budget, SHOWN)
readme.write_text(MARKS.sub(lambda _: head, readme.read_text(encoding="utf-8")), encoding="utf-8")
