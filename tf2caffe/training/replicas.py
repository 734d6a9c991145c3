"""What a network is trained on: every GPU of this machine, and of all that TF_CONFIG names.

TensorFlow's own `tf.distribute` does it all. TF_CONFIG is set on each machine, to its own `task`:

    {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}
"""

import contextlib
import json
import os
import signal

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import tf_import


def strategy():
    """TensorFlow's strategy for the GPUs and machines there are; it waits for the machines."""
    tf = tf_import.tensorflow()
    if several_machines():
        print(f"waiting for the {len(machines()[0])} machines of TF_CONFIG", flush=True)
        try:
            found = tf.distribute.MultiWorkerMirroredStrategy()
        except (ValueError, RuntimeError, tf.errors.OpError) as error:
            raise Failure(f"TF_CONFIG: {first_line(error)}") from None
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which TensorFlow has taken, to ignore it
        return found
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def chief():
    """Whether this machine is the first, the one that writes files and tells of the progress."""
    everyone, own = machines()
    return not everyone or own == everyone[0]


def several_machines():
    return len(machines()[0]) > 1


def machines():
    """(type, index) of every machine that trains, the first one writes; (type, index) of this."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster, task = config.get("cluster", {}), config.get("task", {})
        kinds = ("chief", "worker")
        everyone = [(kind, i) for kind in kinds for i in range(len(cluster.get(kind, [])))]
        own = (task.get("type"), task.get("index"))
    except (ValueError, TypeError, AttributeError) as error:
        raise Failure(f"TF_CONFIG: not as TensorFlow takes it: {error}") from None
    if everyone and own not in everyone:
        raise Failure(f"TF_CONFIG: the task {task} is none of the cluster's machines")
    return everyone, own


@contextlib.contextmanager
def together():
    """Tell in one line that another machine is gone."""
    tf = tf_import.tensorflow()
    try:
        yield
    except tf.errors.OpError as error:
        if not several_machines():
            raise
        gone = f"a machine of TF_CONFIG is gone ({type(error).__name__})"
        raise Failure(f"{gone}; start all of them again") from None
