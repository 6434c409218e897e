"""What the command's process does with memory: what is freed, and what never will be."""

import ctypes
import gc
import importlib
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


def import_torch() -> None:
    """Import torch, and never look for garbage in it: that takes a third of the time of a short command.

    Python would go through all that is imported several times while more of it comes, and once more at the end.
    Where torch is there already the process is not our own, and is left as it is.
    """
    if "torch" not in sys.modules:
        gc.disable()
        importlib.import_module("torch")
        gc.freeze()
        gc.enable()
