"""Our conversion in processes of its own, for `conversion.py`; each prints what it took as JSON.

python -m benchmarks.converter model NAME FILE.keras     makes it; nothing is measured
python -m benchmarks.converter step4 FILE.keras DIR
python -m benchmarks.converter step5 NAME DIR
"""

import functools
import json
import sys
from pathlib import Path

from benchmarks.measure import measure
from tf2caffe.paths import Handoff


def model(name, path):
    """mnistcls, or a network of keras.applications, with random weights."""
    import models
    from tf2caffe.frontend import tf_import

    tf_import.tensorflow()
    import keras

    if name in models.names():
        models.module(name).build().save(path)
    else:
        getattr(keras.applications, name)(weights=None).save(path)


def step4(path, folder):
    """From the loaded model to the weights on disk."""
    from tf2caffe.frontend import keras_file

    path = Path(path)
    loaded = keras_file.keras_model(path)
    return measure(saving(loaded, path, Handoff(folder, path.stem)))


def saving(loaded, path, handoff):
    """What step 4 does once the model is loaded."""
    from tf2caffe.frontend import source, trace, weights

    def work():
        state = functools.partial(source.fingerprint, path)
        read = source.read(handoff, lambda: trace.keras_trace(loaded), state)
        weights.save(read.graph, handoff.weights)

    return work


def step5(name, folder):
    """From the weights on disk to the network, its diagram among it."""
    from tf2caffe import api
    from tf2caffe.caffe import forms
    from tf2caffe.pictures import diagram  # noqa: F401  matplotlib is not to be measured

    handoff = Handoff(folder, name)
    return measure(lambda: api.leave(forms.build(handoff).forms))


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    print(json.dumps({"model": model, "step4": step4, "step5": step5}[task](*arguments)))
