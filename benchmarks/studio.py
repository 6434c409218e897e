"""The studio under load: many visitors at once, and the memory of its process.

    python benchmarks/studio.py [--visitors 50] [--seconds 120] [--root FOLDER]

Every visitor has a session and does cheap actions one after another, as the browser sends them: looks for runs,
chooses photos and gets thumbnails, looks at the training, reads about a recipe. Now and then one asks for a heavy
action, which is done, or answered that the queue is full. Said are the number of actions, errors, the median and
the 99th percentile of a cheap action's seconds, the seconds that the studio computed (on a machine that does other
work too they say more), and its memory after a fifth of the time and at the end.
Needs copyfold[studio].
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from copyfold.data import scenes

HEAVY = 0.01  # of actions
PAUSE = 2.0  # seconds between two actions of a visitor, on average


class Visitor(threading.Thread):
    """One visitor, until the end."""

    def __init__(self, address: str, config: dict[str, Any], number: int, end: float) -> None:
        super().__init__(daemon=True)
        self.address, self.end = address, end
        self.rng = random.Random(number)
        self.session = f"visitor{number}"
        self.cheap: list[float] = []
        self.errors: list[str] = []
        self.full = self.heavy = 0
        labels = {c["id"]: c["props"].get("value") or c["props"].get("label") for c in config["components"]}
        self.events: dict[str, int] = {}
        for dependency in config["dependencies"]:
            for target, kind in dependency["targets"]:
                self.events[f"{kind} {labels.get(target)}"] = dependency["id"]

    def run(self) -> None:
        actions = [
            ("click Look for runs", [None]),
            ("click Use this folder", ["photos"]),
            ("click Use the embedded digits", []),
            ("tick", [None, None]),
            ("change Recipe", ["vae"]),
        ]
        beat = urllib.request.urlopen(f"{self.address}gradio_api/heartbeat/{self.session}", timeout=600)
        with beat:
            while time.monotonic() < self.end:
                time.sleep(self.rng.expovariate(1 / PAUSE))
                if self.rng.random() < HEAVY:
                    self._ask_heavy()
                    continue
                name, data = self.rng.choice(actions)
                event = next(number for label, number in self.events.items() if label.startswith(name))
                began = time.monotonic()
                try:
                    answer = self._asked(event, data)
                    if not answer.get("success"):
                        self.errors.append(f"{name}: {answer}"[:300])
                    self.cheap.append(time.monotonic() - began)
                except Exception as error:
                    self.errors.append(f"{name}: {type(error).__name__}: {error}")

    def _ask_heavy(self) -> None:
        try:
            answer = self._asked(self.events["click What is in it? (copyfold data)"], [None])
            self.heavy += 1
            self.full += "queue full" in json.dumps(answer)
            if not answer.get("success"):
                self.errors.append(f"heavy: {answer}"[:300])
        except Exception as error:
            self.errors.append(f"heavy: {type(error).__name__}: {error}")

    def _asked(self, event: int, data: list[Any]) -> dict[str, Any]:
        body = json.dumps({"data": data, "fn_index": event, "session_hash": self.session}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}gradio_api/queue/join", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            joined = json.loads(answer.read())
        last: dict[str, Any] = {}
        for found in _heard(f"{self.address}gradio_api/queue/data?session_hash={self.session}"):
            if found.get("event_id") == joined["event_id"]:
                last = found if found["msg"] in ("process_generating", "process_completed") else last
                if found["msg"] == "process_completed":
                    return last
        raise ConnectionError("the answer broke off")


def _heard(url: str) -> Iterator[dict[str, Any]]:
    with urllib.request.urlopen(url, timeout=300) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def work(process: int) -> float:
    """The seconds that a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """The resident memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.root or Path(temporary)
        (root / "photos").mkdir(exist_ok=True)
        for k, pixels in enumerate(scenes(60, 128)):
            Image.fromarray(pixels).save(root / "photos" / f"{k}.jpg")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        line = [sys.executable, "-m", "copyfold", "studio", "--root", str(root), "--port", str(port)]
        studio = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert studio.stdout is not None
        print(studio.stdout.readline().strip())
        address = f"http://127.0.0.1:{port}/"
        with urllib.request.urlopen(f"{address}config", timeout=60) as answer:
            config = json.loads(answer.read())
        began, before = time.monotonic(), work(studio.pid)
        visitors = [
            Visitor(address, config, number, began + options.seconds) for number in range(options.visitors)
        ]
        for visitor in visitors:
            visitor.start()
        time.sleep(options.seconds / 5)
        first = memory(studio.pid)
        for visitor in visitors:
            visitor.join(options.seconds + 120)
        last, computed = memory(studio.pid), work(studio.pid) - before
        studio.send_signal(signal.SIGINT)
        studio.wait(30)
    cheap = sorted(seconds for visitor in visitors for seconds in visitor.cheap)
    errors = [error for visitor in visitors for error in visitor.errors]
    heavy, full = (sum(getattr(visitor, name) for visitor in visitors) for name in ("heavy", "full"))
    print(f"{options.visitors} visitors, {options.seconds:g} s: {len(cheap)} cheap actions, {len(errors)} errors")
    print(f"{heavy} heavy actions, of which {full} were told that the queue is full")
    print(f"a cheap action: median {statistics.median(cheap):.3f} s, 99 % {cheap[int(0.99 * len(cheap))]:.3f} s")
    print(f"the studio computed for {computed:.1f} s: {computed / len(cheap):.3f} s an action")
    print(f"memory: {first:.0f} MB after a fifth of the time, {last:.0f} MB at the end")
    print(*errors[:5], sep="\n")


if __name__ == "__main__":
    main()
