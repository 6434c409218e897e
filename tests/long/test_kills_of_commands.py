"""A command killed at any moment leaves whole files or none, and the same command ends the work."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

KILLS = int(os.environ.get("COPYFOLD_KILLS", "24"))  # at least, over the commands; make test-kills has 200
KILLING = Path(__file__).parents[1] / "killing.py"
COMMANDS = 12


def test_what_killed_commands_leave_is_whole_or_absent_and_swept_by_the_next():
    line = [sys.executable, str(KILLING), "--kills", str(max(2, math.ceil(KILLS / COMMANDS)))]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(found) == COMMANDS
    assert not [line for line in found if line["wrong"]], ended.stdout
    assert not [line for line in found if not line["kills"]], ended.stdout


def test_a_command_that_leaves_halves_is_found(tmp_path):
    """The judge itself: half a file under its name, a command that cannot be repeated, and what is left over."""
    script = f"""
import sys; sys.path.insert(0, {str(KILLING.parent)!r})
import json, os, pathlib, killing

def careless(words):
    os.makedirs("out", exist_ok=True)
    with open("out/.1-left.json", "w") as left, open("out/a.json", "w") as file:
        file.write("{{")
        file.flush()
        os.mkdir("out/folder" + words[0])
        file.write("}}")
    return 0

killing.main = careless
killing.COMMANDS["careless"] = ["once"]
source = pathlib.Path({str(tmp_path)!r})
killing.fresh = lambda source, place, name: (place / "w").mkdir() or place / "w" / "out"
print(json.dumps(killing.tried("careless", source, 4)))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    wrong = "\n".join(json.loads(ended.stdout)["wrong"])
    assert "a.json: broken: JSONDecodeError" in wrong
    assert "the same command again ends with 99" in wrong  # its folder is there already
    assert "left over are ['w/out/.1-left.json']" in wrong
