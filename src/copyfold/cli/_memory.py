"""How the process of a command uses memory: it keeps freed blocks, and does not collect garbage in torch."""

import ctypes
import gc
import importlib
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
GIB = 2**30


def kept() -> None:
    """Keep freed memory for later allocations, instead of returning it to the operating system at once.

    glibc returns every block above 32 MiB when it is freed, and the system fills the new pages of the next one
    with zeros: two thirds of the time of attention at a batch of 32 (docs/performance.md). A command may change
    this for its own process; a library may not. Without glibc this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, GIB)
        libc.mallopt(MMAP_THRESHOLD, GIB)


def import_torch() -> None:
    """Import torch without garbage collection, which takes a third of the time of a short command.

    Python would scan the imported objects several times during the import, and once more at exit. Where torch is
    imported already the process is not the command's own, and nothing is changed.
    """
    if "torch" not in sys.modules:
        gc.disable()
        importlib.import_module("torch")
        gc.freeze()
        gc.enable()
