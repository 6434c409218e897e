"""The process of a command keeps the memory that it frees."""

import platform
import subprocess
import sys

import pytest

WORK = """
import resource, sys
import numpy as np
from copyfold.cli import _memory

if sys.argv[1] == "kept":
    _memory.kept()
pages = []
for _ in range(4):
    block = np.ones(64 * 2**20, np.uint8)  # 16,384 pages
    del block
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(pages[-1] - pages[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told so")
def test_freed_memory_is_reused_for_large_blocks():
    found = {}
    for way in ("kept", "returned"):
        line = [sys.executable, "-c", WORK, way]
        found[way] = int(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    assert found["kept"] <= found["returned"] / 4  # pages may be of 4 kB or of 2 MiB
