"""What the command's process does with memory that is freed."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GIB = 2**30


def kept() -> None:
    """Keep freed memory for what comes next, instead of giving it back to the system at once.

    glibc gives back every block above 32 MiB when it is freed, and the system fills new pages with zeros for the
    next one: two thirds of the time that attention takes at a batch of 32 (docs/performance.md). A process of our
    own may do as it likes; a library may not. Elsewhere than on glibc this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, GIB)
        libc.mallopt(MMAP_THRESHOLD, GIB)
