"""What the six steps share. Ctrl-C while they import all of it is told in one line, too."""

import os
import signal
import sys
from pathlib import Path


def _told(number, frame):
    """Nothing has been begun yet, so there is nothing to tidy up; `stage.run` takes over later."""
    script = Path(sys.argv[0]).name
    os.write(2, f"{script}: interrupted before it began\n".encode())
    os._exit(1)


_ours = Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parents[1]  # one of the six
if _ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _told)
