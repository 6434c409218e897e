"""Checks for your own classes: does a class behave as copyfold requires? Call one in your tests.

    from copyfold.testing import check_architecture

    def test_tiny():
        check_architecture(Tiny((1, 16, 16)))

Every check takes an instance, computes on the CPU with fixed seeds, and does not change the instance or the state
of torch's global generator. If a requirement is not met it raises AssertionError: one line that names the class,
and says what is wrong and how to fix it. The requirements are stated in the base classes (`Autoencoder`,
`Penalty`, `Sampler`, ...). tests/laws runs the same checks on copyfold's own classes.

Penalties, fidelities, objectives, samplers and probes are checked on three small models: an MLP, a Variational,
and a UNet whose code is a tuple of maps. They may refuse some of these with UsageError; `model=` replaces the
three by another model.
"""

from copyfold.testing.architectures import check_architecture
from copyfold.testing.middles import check_middle
from copyfold.testing.objectives import check_corruption, check_fidelity, check_objective, check_penalty
from copyfold.testing.optimizers import check_optimizer
from copyfold.testing.probes import check_baseline, check_probe
from copyfold.testing.problems import check_problem
from copyfold.testing.samplers import check_sampler, check_schedule

__all__ = [
    "check_architecture",
    "check_baseline",
    "check_corruption",
    "check_fidelity",
    "check_middle",
    "check_objective",
    "check_optimizer",
    "check_penalty",
    "check_probe",
    "check_problem",
    "check_sampler",
    "check_schedule",
]
