"""Does a class of your own do what copyfold relies on? One call in your tests says so.

    from copyfold.testing import check_architecture

    def test_tiny():
        check_architecture(Tiny((1, 16, 16)))

Every check takes an instance, computes on the CPU with fixed seeds, and leaves the instance and torch's global
generator as they were. Where a demand is not met it raises AssertionError with one line that names the class, and
says what is wrong and what to do. The demands are those that the bases of the families state (`Autoencoder`,
`Penalty`, `Sampler`, ...). copyfold's own classes are held to them too, by tests/laws.

Penalties, fidelities, objectives, samplers and probes are tried on three small models: an MLP, a Variational, and
a UNet whose code is a tuple of maps. They may refuse some of these with UsageError; `model=` gives another in
place of the three.
"""

from copyfold.testing.architectures import check_architecture
from copyfold.testing.middles import check_middle
from copyfold.testing.objectives import check_corruption, check_fidelity, check_objective, check_penalty
from copyfold.testing.probes import check_baseline, check_probe
from copyfold.testing.samplers import check_sampler, check_schedule

__all__ = [
    "check_architecture",
    "check_baseline",
    "check_corruption",
    "check_fidelity",
    "check_middle",
    "check_objective",
    "check_penalty",
    "check_probe",
    "check_sampler",
    "check_schedule",
]
