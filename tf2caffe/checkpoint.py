"""Keras models from files: the trained network of step 1, and users' own."""

from tf2caffe import archive, quiet
from tf2caffe.stage import Failure, first_line


def load_checkpoint(handoff):
    """The Keras model in `handoff.checkpoint`, which step 1 makes."""
    path, command = handoff.checkpoint, training_command(handoff)
    if not path.exists():
        raise Failure(f"{path}: no checkpoint yet; step 1 makes it: {command}")
    return keras_model(path, f"make it anew: {command}")


def training_command(handoff):
    folder = "" if handoff.root.resolve() == handoff.root.cwd() else f" --dir {handoff.root}"
    return f"python train.py {handoff.name}{folder}"


def keras_model(path, advice="save the model again"):
    """The model in a `.keras` or `.h5` file; no code that the file may hold is run.

    Raises `Failure`, with `advice`, where Keras cannot load it.
    """
    damage = archive.damage(path) if path.suffix == ".keras" else None
    if damage:  # Keras itself reads a wrong weight without a word
        raise Failure(f"{path}: {damage}; {advice}")
    quiet.tensorflow()
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the file makes it stumble over
        if "custom" in str(error) or "register" in str(error):
            advice = "--custom FILE.py names the file that registers its custom layers"
        why = f"{type(error).__name__}: {first_line(error)}"
        raise Failure(f"{path}: not a model that Keras can load ({why}); {advice}") from None
