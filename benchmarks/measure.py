"""Seconds and memory of a piece of work. Needs nothing but Python, so that rivals can import it."""

import gc
import re
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage


def measure(work):
    """What `work()` took, as a dictionary.

    `seconds`; `user` and `system`, those that processors spent on it outside the kernel and in it;
    `bytes` of memory at its peak, beyond what was in use before. Pages of files mapped into memory
    count as memory.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, spent, start = resident("VmRSS"), getrusage(RUSAGE_SELF), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - start, getrusage(RUSAGE_SELF)
    return {
        "seconds": seconds,
        "user": after.ru_utime - spent.ru_utime,
        "system": after.ru_stime - spent.ru_stime,
        "bytes": resident("VmHWM") - before,
    }


def resident(field):
    """Bytes in memory as Linux counts them: VmRSS now, VmHWM at the peak."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", status)[1])
