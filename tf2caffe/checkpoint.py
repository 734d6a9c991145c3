"""The trained network of step 1, as steps 2 to 4 find it."""

from tf2caffe import archive, quiet
from tf2caffe.stage import Failure


def load_checkpoint(handoff):
    """The Keras model in `handoff.checkpoint`."""
    path, command = handoff.checkpoint, training_command(handoff)
    if not path.exists():
        raise Failure(f"{path}: no checkpoint yet; step 1 makes it: {command}")
    damage = archive.damage(path)  # Keras itself reads a wrong weight without a word
    if damage:
        raise Failure(f"{path}: {damage}; make it anew: {command}")
    quiet.tensorflow()
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, KeyError, TypeError, OSError) as error:
        what = f"{error}".strip().partition("\n")[0]
        raise Failure(f"{path}: not a Keras model ({what}); make it anew: {command}") from None


def training_command(handoff):
    folder = "" if handoff.root.resolve() == handoff.root.cwd() else f" --dir {handoff.root}"
    return f"python train.py {handoff.name}{folder}"
