"""What concerns a whole process: for programs (the command line, benchmarks), never for the library itself."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def keep_freed_memory() -> bool:
    """Let the C allocator keep large blocks that were freed, instead of giving each back to the system.

    Networks free and ask for the same hundreds of megabytes in every step; with glibc's defaults each block is mapped
    and zeroed page by page again, which on a virtual machine takes most of a training step. Peak memory is unchanged.

    Returns:
        Whether the allocator took the setting: false without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    never_map, never_trim, grow_by = (-4, 0), (-1, -1), (-2, 64 << 20)  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
    taken = [mallopt(*setting) for setting in (never_map, never_trim, grow_by)]
    return taken == [1, 1, 1]


def peak_memory() -> int | None:
    """The most bytes of this process that were resident at once; None where the system does not tell."""
    try:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
