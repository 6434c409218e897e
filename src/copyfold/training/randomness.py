"""Randomness as a function of the seed and of where training stands, so that a resume needs no saved state."""

import hashlib


def hashed(seed: int, step: int, rank: int = 0) -> int:
    """A seed for one step of one process that has nothing to do with that of the next."""
    name = f"{seed}/{step}" + (f"/{rank}" if rank else "")
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1
