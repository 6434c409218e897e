"""Every recipe on the same photographs for the same time: parameters, cost per image, held-out error.

    python benchmarks/recipes.py [DATA] [--size 64] [--minutes 2] [--only plain vae ...] [--out FILE.json]

Prints a markdown table. The cost is milliseconds of training per image (time over images seen, all overheads
in it); mse is per pixel, of the recipe's own held-out loss: what its decoder makes of what its encoder sees,
corrupted where the recipe corrupts, with the statistics that it trains with. `--out` keeps the rows as they
come, and rows that are there already are not measured again.
"""

import argparse
import json
import logging
import tempfile
from pathlib import Path

import torch

import copyfold as cf
from copyfold.cli import _parsing, train


def measure(name: str, options: argparse.Namespace) -> dict[str, float | int | str]:
    """Train one recipe and describe the result."""
    chosen, _ = train._options([f"--config={name}"])
    torch.manual_seed(0)
    photos = cf.Photos(options.data, options.size, flip=chosen.flip)
    model = train._architecture(chosen.model, chosen.core)(photos.shape)
    found = model.summary()
    settings = {k: chosen[k] for k in ("batch", "optimizer", "lr", "precision", "schedule")}
    with tempfile.TemporaryDirectory() as folder:
        run = cf.fit(model, chosen.objective, photos, f"{folder}/run", minutes=options.minutes, **settings)
        last = [row for row in run.history if "held_out_mse" in row][-1]
    images = last["step"] * min(chosen.batch, len(photos))
    return {
        "recipe": name,
        "parameters": found.parameters,
        "code": found.code_size,
        "images": round(images),
        "ms per image": 1000 * last["seconds"] / images,
        "mse": last["held_out_mse"],
        "units in use": f"{last['held_out_active_units']:.0f}" if "held_out_active_units" in last else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--only", nargs="+", default=_parsing.recipes())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.getLogger("copyfold").setLevel(logging.ERROR)
    rows = json.loads(options.out.read_text()) if options.out and options.out.exists() else []
    for name in options.only:
        if name not in [row["recipe"] for row in rows]:
            rows.append(measure(name, options))
            print(rows[-1], flush=True)
            if options.out:
                options.out.write_text(json.dumps(rows, indent=1))
    print("\n| recipe | parameters | code | images seen | ms per image | held-out mse | units in use |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['recipe']} | {row['parameters']:,} | {row['code']:,} | {row['images']:,} "
            f"| {row['ms per image']:.2f} | {row['mse']:.4f} | {row['units in use']} |"
        )


if __name__ == "__main__":
    main()
