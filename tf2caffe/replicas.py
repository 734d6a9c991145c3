"""What a network is trained on: every GPU of this machine, and of all that TF_CONFIG names.

TensorFlow's own `tf.distribute` does it all. TF_CONFIG is set on each machine, to its own `task`:

    {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import os

from tf2caffe import quiet
from tf2caffe.stage import Failure, first_line


def strategy():
    """TensorFlow's strategy for the machines and GPUs there are; it waits for the machines."""
    tf = quiet.tensorflow()
    if len(workers()) > 1:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise Failure(f"TF_CONFIG: {first_line(error)}") from None
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def chief():
    """Whether this machine is the first, the one that writes files and tells of the progress."""
    return not workers() or task() == workers()[0]


def workers():
    """The (type, index) of every machine that trains, the chief first; none without TF_CONFIG."""
    cluster = config().get("cluster", {})
    return [
        (kind, index) for kind in ("chief", "worker") for index in range(len(cluster.get(kind, [])))
    ]


def task():
    """The (type, index) of this machine."""
    own = config().get("task", {})
    found = own.get("type"), own.get("index")
    if found not in workers():
        raise Failure(f"TF_CONFIG: the task {own} is no chief and no worker of the cluster")
    return found


def config():
    try:
        return json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError as error:
        raise Failure(f"TF_CONFIG: not JSON: {error}") from None
