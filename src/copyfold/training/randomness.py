"""Randomness as a function of the seed and of where training stands, so that a resume needs no saved state."""

import hashlib

import torch


def hashed(seed: int, step: int, rank: int = 0) -> int:
    """A seed for one step of one process that has nothing to do with that of the next."""
    name = f"{seed}/{step}" + (f"/{rank}" if rank else "")
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def seeded(seed: int, device: torch.device) -> None:
    """Seed torch where a step draws: on the CPU, and on its device.

    torch.manual_seed does the same for every device there may ever be; where there is no GPU it notes that for
    later, with a stack trace, for a millisecond and for ever.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
