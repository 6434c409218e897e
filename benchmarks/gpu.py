"""One CUDA device: peak, training with and without `fit`, speed options, growth; whether results are right.

    bash benchmarks/gpu.sh                                       everything, in under 8 minutes
    python benchmarks/gpu.py SECTION ... [--device cpu --quick]  some of it; tiny sizes, to try the script itself

A section is a list of measurements: each is skipped by its name once the section's --seconds are spent, and
reported by its name where it fails; they are added to the file --rows as they come. --table prints that file, with
the shares of the device's own peak in matrix products, and writes --out, a JSON file with date and device.

"step" is forward, backward and Adam on a batch that lies on the device; "bare" the same in a loop that draws its
batches as `fit` does. FLOPs are those of matrix products and convolutions, forward and backward, as torch counts
them. It needs torch >= 2.11, lightning-fabric, numpy, safetensors and huggingface_hub, and makes its own data.
"""

import argparse
import gc
import json
import os
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gpu_checks import correct
from gpu_rates import architectures, compiling, data, growth, mlp, peak, samplers, speed_options, unet
from gpu_steps import Bench, Item, Numbers

import copyfold as cf

QUOTED = 788.0  # TFLOP/s, a bf16 matrix product of 8192 on one H200 with random data
AIM, STRETCH = 15_000, 0.45  # images/s of UNet 64 at 64x64 in bf16 on an H200; share of QUOTED
WRONG = ("error", "skipped", "wrong")  # what an item that did not do its work says


SECTIONS: dict[str, Callable[[Bench], Iterator[Item]]] = {
    section.__name__: section
    for section in (peak, unet, speed_options, correct, mlp, data, growth, samplers, architectures, compiling)
}

# Running them, and the table


def run(name: str, bench: Bench, seconds: float, rows: Path) -> None:
    """Make a section's measurements in turn and add each to the file; none keeps the others from it."""
    begin = time.monotonic()

    def note(what: str, numbers: Numbers) -> None:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"section": name, "what": what, "numbers": numbers}) + "\n")
        print(line(name, what, numbers), flush=True)

    try:
        for what, work in SECTIONS[name](bench):
            note(
                what,
                measured(work) if time.monotonic() - begin < seconds else {"skipped": f"{seconds:.0f} s spent"},
            )
            gc.collect()
            if bench.cuda:
                torch.cuda.empty_cache()
    except Exception as error:
        traceback.print_exc()
        note("the rest", {"error": said(error)})


def measured(work: Callable[[], Numbers]) -> Numbers:
    """The numbers, or what kept them from us."""
    try:
        return {name: value for name, value in work().items() if value == value}
    except torch.OutOfMemoryError:
        return {"out of memory": 1}
    except ModuleNotFoundError as error:
        return {"needs": error.name}
    except Exception as error:
        traceback.print_exc()
        return {"error": said(error)}


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def line(section: str, what: str, numbers: Numbers) -> str:
    shown = (f"{k} {v:,.4g}" if isinstance(v, float | int) else f"{k}: {v}" for k, v in numbers.items())
    return f"{section:<13} {what:<48} {'   '.join(shown)}"


def table(rows: list[dict[str, Any]], out: Path | None, device: torch.device, quick: bool) -> int:
    """Print everything with its share of the peak, write it down, and say whether all of it was done and right."""
    products = [row["numbers"] for row in rows if row["what"].startswith("matrix product bf16")]
    highest = max((numbers.get("TFLOP/s", 0.0) for numbers in products), default=0.0)
    for row in rows:
        numbers = row["numbers"]
        for name in [name for name in numbers if name.endswith("TFLOP/s") and row["section"] != "peak"]:
            if highest:
                numbers[name.replace("TFLOP/s", "of peak")] = numbers[name] / highest
            numbers[name.replace("TFLOP/s", f"of {QUOTED:.0f}")] = numbers[name] / QUOTED
    machine = described(device)
    print("\n" + "  ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        print(line(row["section"], row["what"], row["numbers"]))
    failed = [row for row in rows if any(name in row["numbers"] for name in WRONG)]
    if best := max((r for r in rows if "fit images/s" in r["numbers"]), key=fit_rate, default=None):
        share = best["numbers"]["fit TFLOP/s"] / QUOTED
        print(
            f"\nbest through fit: {fit_rate(best):,.0f} images/s ({best['what']}), {share:.1%} of {QUOTED:.0f} "
            f"TFLOP/s; the aim on an H200 is {AIM:,}, the stretch {STRETCH:.0%}"
        )
    print(f"{len(rows)} measurements, {len(failed)} failed, skipped or wrong")
    if out is None:
        name = "-".join(machine["device"].lower().split())
        out = Path("results") / "gpu" / f"{name}-{machine['date']}{'-quick' if quick else ''}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {**machine, "quick": quick, "peak TFLOP/s": highest, "rows": rows}
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(out)
    return 1 if failed or not rows else 0


def fit_rate(row: dict[str, Any]) -> float:
    return row["numbers"].get("fit images/s", 0.0)


def described(device: torch.device) -> dict[str, str]:
    """The date, the device and what runs on it."""
    cuda = device.type == "cuda"
    found = {"date": date.today().isoformat(), "device": torch.cuda.get_device_name() if cuda else "cpu"}
    if cuda:
        found["GiB"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.1f}"
        found["cuda"], found["cudnn"] = str(torch.version.cuda), str(torch.backends.cudnn.version())
    found |= {
        "torch": torch.__version__,
        "lightning-fabric": version("lightning-fabric"),
        "copyfold": cf.__version__,
    }
    return found | {"python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"Of {', '.join(SECTIONS)}; nothing: all.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="Tiny sizes, each measured once.")
    parser.add_argument("--seconds", type=float, default=120.0, help="For each section.")
    parser.add_argument("--rows", type=Path, help="The file that measurements are added to.")
    parser.add_argument("--table", action="store_true", help="Print and write what --rows holds.")
    parser.add_argument("--out", type=Path, help="results/gpu/DEVICE-DATE.json unless given.")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section is called {', '.join(unknown)}: choose of {', '.join(SECTIONS)}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic products need
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else fit would find what is there
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: give --device cpu --quick to try the script")
    with tempfile.TemporaryDirectory() as folder:
        rows: Path = options.rows or Path(folder) / "rows"
        if not options.table:
            for name in options.sections or SECTIONS:
                run(name, Bench(device, options.quick), options.seconds, rows)
        if options.rows and not options.table:
            return 0
        found = [json.loads(text) for text in rows.read_text(encoding="utf-8").splitlines()]
        return table(found, options.out, device, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
