"""Runs scripts in forks of one process that has imported what they import.

Python takes half a second to start and to import what steps 5 and 6 do, TensorFlow takes seconds,
and the tests start them a thousand times. Otherwise a fork is as good as a process: it reads its
own arguments, it ends with the status and the words with which Python ends. `pipeline.run_warm`
asks by lines of JSON; the modules to import are named on the command line.
"""

import importlib
import json
import os
import resource
import runpy
import signal
import sys
import tempfile
import traceback
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def run(arguments, environment, folder, seconds, memory):
    """Exit status, standard output and standard error of a script in a fork.

    It is killed after so many seconds (by SIGALRM), or when it has written, moved or removed files
    KILLED_AT times, and refused more than so many bytes; 0 is no limit.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.setsid()
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            os.chdir(folder)
            limit(seconds, memory)
            os._exit(ended(arguments))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return [status, *texts]


def limit(seconds, memory):
    tempfile.tempdir = None  # another TMPDIR may have been given
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if "KILLED_AT" in os.environ:
        sys.addaudithook(Killer(int(os.environ["KILLED_AT"])))
    if memory:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))


class Killer:
    """An audit hook that kills the process before its n-th change to the file system."""

    def __init__(self, count):
        self.count = count

    def __call__(self, event, arguments):
        if event in CHANGES or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.count -= 1
            if not self.count:
                os.kill(os.getpid(), signal.SIGKILL)


CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "ctypes.dlsym")  # of renameat2


def ended(arguments):
    """Run the script to its end, without tearing down what is imported; its exit status."""
    sys.argv, status = arguments, 0
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # what Python itself does then
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    sys.path[0] = str(PROJECT)  # as for a script that lies there
    if "keras" in sys.argv:
        from tf2caffe.frontend import tf_import

        tf_import.tensorflow()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        answer = json.dumps(run(*json.loads(line)))
        print(answer, flush=True)
