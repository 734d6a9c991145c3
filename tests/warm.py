"""Runs steps 5 and 6 in forks of one process that has imported what they import.

Python takes half a second to start and to import it all, and the tests start them a hundred times.
Otherwise a fork is as good as a process: it reads its own arguments, it ends as Python ends.
`pipeline.run_warm` asks by lines of JSON.
"""

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def run(arguments, environment):
    """Exit status, standard output and standard error of a script in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
            sys.exit()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return [status, *texts]


if __name__ == "__main__":
    sys.path[0] = str(PROJECT)  # as for a script that lies there
    import build_caffe  # noqa: F401
    import caffe_predict  # noqa: F401
    from tf2caffe import diagram, pictures  # noqa: F401

    for line in sys.stdin:
        answer = json.dumps(run(*json.loads(line)))
        print(answer, flush=True)
