"""Seconds and memory of a piece of work. Needs nothing but Python, so that rivals can import it."""

import gc
import re
import time
from pathlib import Path


def measure(work):
    """What `work()` took, as a dictionary.

    `seconds`; `busy`, the seconds of them that a processor spent on it; `bytes` of memory at its
    peak, beyond what was in use before. Pages of files mapped into memory count as memory.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, busy = resident("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - start,
        "busy": time.process_time() - busy,
        "bytes": resident("VmHWM") - before,
    }


def resident(field):
    """Bytes in memory as Linux counts them: VmRSS now, VmHWM at the peak."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", status)[1])
