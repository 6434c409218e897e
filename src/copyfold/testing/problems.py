"""Requirements of a problem: a linear measurement, and a pseudo-inverse that is exact."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from copyfold.problems.base import Problem
from copyfold.testing.demands import (
    attempt,
    class_name,
    close,
    images,
    no_global_randomness,
    require,
    same,
    seeded,
    shown,
    size,
    stores_arguments,
)
from copyfold.types import Images

EXACT = {torch.float32: 1e-4, torch.float64: 1e-9}  # of what is of the size of 1


def check_problem(problem: Problem, x: Images | None = None) -> None:
    """Check that a problem behaves as copyfold requires, on images x (random colour images by default).

    `measure` and `invert` are linear functions, without chance, of every image by itself; they keep dtype and
    device, and do not change what they are given. `invert` is the pseudo-inverse: what is measured of A^+ m is m,
    A^+ A is an orthogonal projection. `project` makes of any step one whose end is measured as m, changes it no
    more when it is applied again, and leaves what is not measured. In float32 to 1e-4, in float64 to 1e-9. Its
    arguments are stored. AssertionError says in one line what is wrong.
    """
    name = class_name(problem, Problem)
    stores_arguments(problem)
    x = images() if x is None else x
    with seeded(), torch.no_grad():
        m = _kept(name, "measure", problem.measure, x)
        back = _kept(name, "invert", problem.invert, m)
        require(
            back.shape == x.shape,
            f"{name}: invert returns {size(back)} from the measurement of {size(x)}: expected {size(x)}",
        )
        for dtype, tolerance in EXACT.items():
            _is_linear(name, problem, x.to(dtype), tolerance)
            _inverts(name, problem, x.to(dtype), tolerance)
            _projects(name, problem, x.to(dtype), tolerance)


def _kept(name: str, what: str, function: Callable[[Images], Images], given: Images) -> Images:
    """What a function returns: finite images, the same again, in the dtype and on the device of the given ones."""
    before, where = given.clone(), f"{name}: {what}"
    for dtype in (torch.float64, given.dtype):
        with no_global_randomness(name), attempt(f"{where} of {size(given)} in {dtype}"):
            once, again = function(given.to(dtype)), function(given.to(dtype))
        batched = isinstance(once, Tensor) and once.dim() == 4 and len(once) == len(given)
        require(batched, f"{where} returns {shown(once)} for {size(given)}: expected as many images")
        kept = once.dtype == dtype and once.device == given.device
        require(
            kept,
            f"{where} returns {once.dtype} on {once.device} for {dtype} on {given.device}: keep both",
        )
        require(once.isfinite().all(), f"{where} returns NaN or infinite values")
        require(same(given, before), f"{where} changes the given images: work on a copy, x = x.clone()")
        require(same(once, again), f"{where} returns two results for the same images: draw from a seed of its own")
    return once


def _is_linear(name: str, problem: Problem, x: Images, tolerance: float) -> None:
    """A (2 x - 3 y) = 2 A x - 3 A y, A^+ likewise; and every image is measured by itself."""
    y = x.flip(0, 3)
    for what, function, a, b in (
        ("measure", problem.measure, x, y),
        ("invert", problem.invert, problem.measure(x), problem.measure(y)),
    ):
        linear = close(function(2 * a - 3 * b), 2 * function(a) - 3 * function(b), 0, 10 * tolerance)
        require(linear, f"{name}: {what} is not linear: expected {what}(2 a - 3 b) = 2 {what}(a) - 3 {what}(b)")
        alone = close(function(a[:1]), function(a)[:1], 0, tolerance)
        require(alone, f"{name}: {what} of an image depends on the rest of its batch: treat all of them alike")


def _inverts(name: str, problem: Problem, x: Images, tolerance: float) -> None:
    """A A^+ A = A, and A^+ A is symmetric: an orthogonal projection, as A^+ is the pseudo-inverse."""
    m = problem.measure(x)
    found = problem.invert(m)
    off = (problem.measure(found) - m).abs().max().item()
    require(
        off <= tolerance,
        f"{name}: the measurement of invert(m) differs from m by up to {off:.2g} in {x.dtype}: invert must be the "
        "pseudo-inverse, measure(invert(m)) = m",
    )
    y = x.flip(0, 2) - 0.5
    inner = (found * y).sum() - (x * problem.invert(problem.measure(y))).sum()
    scale = x.square().sum().sqrt() * y.square().sum().sqrt()
    require(
        inner.abs() <= 10 * tolerance * scale,
        f"{name}: invert(measure(x)) is not an orthogonal projection: of the images with a measurement, "
        "return the one of least norm",
    )


def _projects(name: str, problem: Problem, x: Images, tolerance: float) -> None:
    """y + project(f, y, m) is measured as m, projected again it is the same, and what is not measured stays."""
    rng = Generator().manual_seed(3)
    y, f = (torch.randn(x.shape, generator=rng, dtype=torch.float64).to(x) for _ in range(2))
    m = problem.measure(x)
    with attempt(f"{name}: project(f, y, m)"):
        once = problem.project(f, y, m)
        again = problem.project(once, y, m)
    require(once.shape == f.shape, f"{name}: project returns {size(once)} for a step of {size(f)}: keep its shape")
    met = close(problem.measure(y + once), m, 0, 10 * tolerance)
    require(met, f"{name}: y + project(f, y, m) is not measured as m: leave project as the base class has it")
    require(
        close(once, again, 0, 10 * tolerance),
        f"{name}: a step that was projected changes when it is projected again: leave project as the base class "
        "has it",
    )
    of_once, of_f = (step - problem.invert(problem.measure(step)) for step in (once, f))
    require(
        close(of_once, of_f, 0, 10 * tolerance),
        f"{name}: project changes what is not measured: leave project as the base class has it",
    )
