"""The weights in a file of Keras 1 or 2, into a model of Keras 3 of the same layers."""

import re
import tempfile
from pathlib import Path

import numpy as np

from tf2caffe.frontend.keras2 import Untranslated


def load_group(group, model, old):
    """Give a model the weights in a group of an HDF5 file, layer by layer; `old` is Keras 1's.

    Raises `Untranslated` unless each finds its place, by its name and shape.
    """
    stored = {name.replace("/", "_"): _stored(group[name]) for name in _names(group, "layer_names")}
    stored = {name: weights for name, weights in stored.items() if weights}
    layers = [layer for layer in model.layers if layer.weights]
    if sorted(stored) == sorted(layer.name for layer in layers):
        pairs = [(layer, stored[layer.name]) for layer in layers]
    elif len(stored) == len(layers):
        pairs = list(zip(layers, stored.values(), strict=True))
    else:
        raise Untranslated(f"it holds weights of {len(stored)} layers, the model has {len(layers)}")
    for layer, weights in pairs:
        weights = _of_keras_1(layer, weights) if old else weights
        _assign(layer, weights)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization computes of its weights what it is used with


def _names(group, key):
    """A list of names, which HDF5 holds in one attribute or, if it is long, in several."""
    if key in group.attrs:
        parts = [group.attrs[key]]
    else:
        count = sum(bool(re.fullmatch(rf"{key}\d+", name)) for name in group.attrs)
        parts = [group.attrs[f"{key}{at}"] for at in range(count)]
    names = [name for part in parts for name in part]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _stored(group):
    """The weights of one layer, [(name, array)], in their order."""
    return [(name, np.asarray(group[name])) for name in _names(group, "weight_names")]


def _assign(layer, weights):
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    if len(variables) != len(weights):
        raise Untranslated(f"{layer.name} has {len(variables)} weights, {len(weights)} are stored")
    for variable, (name, value) in _matched(layer, variables, weights):
        if tuple(variable.shape) != value.shape:
            raise Untranslated(f"{name} is {value.shape}, {variable.path} {tuple(variable.shape)}")
        variable.assign(value)


def _matched(layer, variables, weights):
    """Each variable with what is stored for it: by names, in order where these are not unique."""
    wanted = [_key(variable.path) for variable in variables]
    found = [_renewed(_key(name), wanted) for name, _ in weights]
    if len(set(wanted)) == len(wanted) and set(found) == set(wanted):
        return [(variable, weights[found.index(key)])
                for variable, key in zip(variables, wanted, strict=True)]  # fmt: skip
    for want, (name, _), key in zip(wanted, weights, found, strict=True):
        if want[-1] != key[-1]:
            raise Untranslated(f"{layer.name} stores {name} where Keras 3 has {want[-1]}")
    return list(zip(variables, weights, strict=True))


def _key(name):
    """(layer, weight) of a variable: conv_1/kernel_2:0 is ("conv_1", "kernel")."""
    *scope, own = name.removesuffix(":0").split("/")
    return (scope[-1] if scope else ""), re.sub(r"_\d+$", "", own)


def _renewed(key, wanted):
    """A weight's name in Keras 3: a depthwise convolution calls its kernel so."""
    renewed = key[0], "kernel"
    old = key[1] == "depthwise_kernel" and key not in wanted
    return renewed if old and renewed in wanted else key


def _of_keras_1(layer, weights):
    """Keras 1's weights under Keras 2's names: conv_W is kernel, one matrix a gate is one."""
    weights = [(name.removesuffix(":0").rpartition("/")[2], value) for name, value in weights]
    kind = type(layer).__name__
    if kind == "Bidirectional":
        half = len(weights) // 2
        parts = (layer.forward_layer, weights[:half]), (layer.backward_layer, weights[half:])
        return [one for part in parts for one in _of_keras_1(*part)]
    if kind in GATES:
        return [(new, np.concatenate(_gates(weights, old, GATES[kind]), -1))
                for old, new in SUMS.items()]  # fmt: skip
    if kind == "Conv1D":
        weights = [(name, value[:, 0] if value.ndim == 4 else value) for name, value in weights]
    return [(_renamed(name), value) for name, value in weights]


def _gates(weights, end, gates):
    """The matrices of all gates: lstm_1_W_i, lstm_1_W_f, ..."""
    names = [f"_{end}_{gate}" for gate in gates]
    return [next(value for known, value in weights if known.endswith(name)) for name in names]


def _renamed(name):
    return next((new for end, new in ENDS.items() if name.endswith(f"_{end}")), name)


def load_archive(archive, model):
    """Give a model the weights in a `.keras` of Keras 2."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(archive.extract("model.weights.h5", folder))
        model.load_weights(file)


GATES = {"LSTM": "ifco", "GRU": "zrh"}
SUMS = {"W": "kernel", "U": "recurrent_kernel", "b": "bias"}
ENDS = {"W": "kernel", "U": "recurrent_kernel", "b": "bias", "gamma": "gamma", "beta": "beta",
        "running_mean": "moving_mean", "running_std": "moving_variance"}  # fmt: skip
