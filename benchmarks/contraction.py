"""The cost of a contractive training step over a plain step: the estimate, the closed form, exact.

    python benchmarks/contraction.py [DATA] [--code 300] [--batch 128] [--rounds 15]

DATA is what train takes (Fashion-MNIST, say); without it, random images of 28x28. Each round times one step
(forward, backward, Adam, float32) of every kind in turn, so that a noisy machine disturbs all of them; medians
of the ratios to the plain step of the same round are printed as a markdown table.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import copyfold as cf


def stepper(model: cf.Autoencoder, penalties: tuple, x: torch.Tensor) -> Callable[[], float]:
    """A function that makes one training step and returns its seconds."""
    objective = cf.Classical(penalties=penalties)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> float:
        begin = time.perf_counter()
        optimizer.zero_grad()
        sum(objective(model, x).values()).backward()
        optimizer.step()
        return time.perf_counter() - begin

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    for name, default in (("code", 300), ("batch", 128), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    size = 28
    photos = cf.Photos(options.data, size, limit=4 * options.batch) if options.data else None
    x = photos.images("train", options.batch) if photos else torch.rand(options.batch, 1, size, size)
    shape = tuple(x.shape[1:])
    kinds = {
        "one logistic layer": lambda: cf.MLP(shape, (), options.code, code_activation="sigmoid"),
        "MLP, 512 hidden": lambda: cf.MLP(shape, (512,), options.code),
        "Conv, 16-32-64": lambda: cf.Conv(shape, (16, 32, 64)),
    }
    print(f"| encoder | code | plain, ms | {' | '.join(('hutchinson', 'closed', 'exact'))} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, make in kinds.items():
        code = make().summary().code_size
        steps = {"plain": stepper(make(), (), x)}
        for estimator in ("hutchinson", "closed", "exact"):
            penalty = cf.Contraction(1e-3, estimator)
            try:
                penalty.check(make())
            except cf.UsageError:
                continue
            steps[estimator] = stepper(make(), (penalty,), x)
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for turn in range(options.rounds + 1):
            for kind, step in steps.items():
                if kind != "exact" or turn < 3:  # a hundred times as long
                    times[kind].append(step())
        plain = times["plain"][1:]
        ratios = {
            k: statistics.median(a / b for a, b in zip(t[1:], plain, strict=False)) for k, t in times.items()
        }
        shown = [f"{ratios[k]:.2f}" if k in ratios else "none" for k in ("hutchinson", "closed", "exact")]
        print(f"| {name} | {code} | {1000 * statistics.median(plain):.1f} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
