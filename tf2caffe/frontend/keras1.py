"""A model's configuration as Keras 1 wrote it, spelt as Keras 2 does."""


def modern(record):
    """The record of a layer or a whole model. Raises `keras2.Untranslated`."""
    from tf2caffe.frontend.keras2 import Untranslated

    name, config = record["class_name"], record["config"]
    if name == "Sequential" and isinstance(config, list):
        return record | {"config": [modern(layer) for layer in config]}
    if "layers" in config:
        return record | {
            "config": config | {"layers": [modern(layer) for layer in config["layers"]]}
        }
    config = dict(config)
    if config.pop("dim_ordering", "tf") != "tf":
        raise Untranslated(f"{config['name']} has Theano's order of axes (dim_ordering th)")
    for old, new in KEYS.items():
        if old in config:
            config[new] = config.pop(old)
    for key in IDLE:
        config.pop(key, None)
    if name in CHANGED:
        name = CHANGED[name](config) or name
    name = CLASSES.get(name, name)
    if isinstance(config.get("layer"), dict):
        config["layer"] = modern(config["layer"])
    return record | {"class_name": name, "config": config}


def _convolution(config):
    """nb_row and nb_col are one setting."""
    sizes = [config.pop(key) for key in ("nb_row", "nb_col") if key in config]
    if sizes:
        config["kernel_size"] = sizes
    config.pop("output_shape", None)


def _convolution_1d(config):
    config["kernel_size"] = config.pop("filter_length")
    if "subsample_length" in config:
        config["strides"] = config.pop("subsample_length")
    config.pop("input_dim", None)
    config.pop("input_length", None)


def _pooling_1d(config):
    config["pool_size"] = config.pop("pool_length")
    config["strides"] = config.pop("stride")


def _dense(config):
    config.pop("input_dim", None)


def _recurrent(config):
    for key in ("input_dim", "input_length", "consume_less", "dropout_W", "dropout_U"):
        config.pop(key, None)
    config["use_bias"] = True


def _padding(config):
    padding = config["padding"]
    if isinstance(padding, list) and len(padding) == 2 and isinstance(padding[0], int):
        config["padding"] = [[side, side] for side in padding]


def _merge(config):
    """The layer of Keras 2 that one mode of Merge became."""
    from tf2caffe.frontend.keras2 import Untranslated

    mode, axis = config.pop("mode"), config.pop("concat_axis", -1)
    for key in ("dot_axes", "mode_type", "output_shape", "output_shape_type", "output_mask",
                "output_mask_type", "arguments"):  # fmt: skip
        config.pop(key, None)
    if mode not in MERGED:
        raise Untranslated(f"Merge by {mode}")
    if mode == "concat":
        config["axis"] = axis
    return MERGED[mode]


MERGED = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum",
          "concat": "Concatenate"}  # fmt: skip

IDLE = ("init", "W_regularizer", "b_regularizer", "U_regularizer", "W_constraint", "b_constraint",
        "beta_init", "gamma_init", "inner_init", "forget_bias_init", "input_dtype",
        "weights")  # fmt: skip

KEYS = {
    "nb_filter": "filters", "border_mode": "padding", "subsample": "strides", "bias": "use_bias",
    "output_dim": "units", "p": "rate", "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate", "length": "size", "sigma": "stddev",
}  # fmt: skip

CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose", "SeparableConvolution2D": "SeparableConv2D",
}  # fmt: skip

CHANGED = {
    "AtrousConvolution2D": _convolution,
    "AveragePooling1D": _pooling_1d,
    "Convolution1D": _convolution_1d,
    "Convolution2D": _convolution,
    "Deconvolution2D": _convolution,
    "Dense": _dense,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "MaxPooling1D": _pooling_1d,
    "Merge": _merge,
    "SeparableConvolution2D": _convolution,
    "SimpleRNN": _recurrent,
    "ZeroPadding2D": _padding,
}
