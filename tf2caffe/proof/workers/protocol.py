"""How a runtime and its child process talk: one JSON line, then the arrays that it announces.

Runs in any Python from 3.6 that has numpy; the workers beside it import it as a plain file.
"""

import json
import os
import sys

import numpy as np

try:
    import resource
except ImportError:  # Windows has none, and leaves no core files
    resource = None


def send(stream, message, arrays):
    """Write `message`, a dict, and `arrays`, a dict name -> array, as float32."""
    shapes = [[name, array.shape] for name, array in arrays.items()]
    stream.write(json.dumps(dict(message, arrays=shapes)).encode() + b"\n")
    for array in arrays.values():
        stream.write(memoryview(np.ascontiguousarray(array, np.float32)).cast("B"))
    stream.flush()


def receive(stream):
    """What `send` wrote; `EOFError` where the other side has ended."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    message = json.loads(line.decode())
    return message, {name: _array(stream, shape) for name, shape in message.pop("arrays")}


def _array(stream, shape):
    data = bytearray(4 * int(np.prod(shape)))
    if stream.readinto(data) < len(data):
        raise EOFError
    return np.frombuffer(data, np.float32).reshape(shape)


def serve(version, run):
    """Tell the version, then answer requests on stdin by `run(request, inputs)` until it ends.

    What libraries print goes to standard error, which the parent keeps; no core file is left.
    """
    if resource:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    send(answers, {"version": version}, {})
    while True:
        try:
            request, inputs = receive(sys.stdin.buffer)
        except EOFError:
            return
        send(answers, *_answer(run, request, inputs))


def _answer(run, request, inputs):
    try:
        return {}, run(request, inputs)
    except Exception as error:  # whatever the engine raises is the answer
        return {"error": str(error) or type(error).__name__}, {}
