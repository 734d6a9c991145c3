"""What a network computed: the input and every layer's output, kept as one `.npz`, and printed.

Arrays are float32 with the images first and the channels last: (N, H, W, C), (N, F). The statistics
show one of the images, all of them are compared.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np

from tf2caffe import files, records
from tf2caffe.failure import Failure
from tf2caffe.graph.preprocessing import Preprocessing
from tf2caffe.paths import replacing
from tf2caffe.proof.probes import VERSION, Probes

PROBES = ("regions", "outputs", "floors")
# How the activations were made; `preprocessing` has a `Preprocessing`'s fields.
NUMBER = (float, int)
MADE = {
    "model?": str,
    "versions?": {str: str},
    "preprocessing?": {
        "bgr": bool, "mean": ([NUMBER], None), "std": ([NUMBER], None), "scale": (NUMBER, None),
        "folded": bool,
    },
    "expected?": ([(str, None)], None),
}  # fmt: skip
DAMAGED = zipfile.BadZipFile, zlib.error
RESERVED = ("input:", "layer:", "@")


@dataclass
class Activations:
    """`inputs` and `layers` by name, the images' names, and which of them is shown.

    `source` tells which state of the model it was, `original` whether the outputs were compared
    with the model itself, or why not, `probes` what each layer is fed besides. `made` says how all
    this was made, as step 6 reports it: the model's file, versions, the preprocessing.
    """

    inputs: dict
    layers: dict
    images: list
    shown: int
    source: str = field(default="")
    original: str = field(default="")
    made: dict = field(default_factory=dict)
    probes: Probes | None = field(default=None, repr=False)

    def of_shown(self):
        """Each layer's output for the image shown, without the batch axis."""
        return {name: array[self.shown] for name, array in self.layers.items()}


def save(path, activations):
    """Write the `.npz`: inputs as `input:NAME`, layers by name, the rest with a leading @.

    A layer whose own name begins so is `layer:NAME`.
    """
    arrays = {f"input:{name}": array for name, array in activations.inputs.items()}
    for name, array in activations.layers.items():
        arrays[f"layer:{name}" if name.startswith(RESERVED) else name] = array
    arrays |= {
        "@images": np.array(activations.images),
        "@shown": np.array(activations.shown),
        "@source": np.array(activations.source),
        "@original": np.array(activations.original),
        "@made": np.array(json.dumps(activations.made)),
        "@probes": np.array(VERSION),
    }
    for kind in PROBES:
        found = getattr(activations.probes, kind).items()
        arrays |= {f"@{kind}:{name}": array for name, array in found}
    with replacing(path) as temporary:
        files.save(temporary, arrays)


def load(path):
    """Read the `.npz`. Raises `Failure` where it is missing or damaged."""
    again = "tf_predict.py (step 3) makes it"
    if not path.exists():
        raise Failure(f"{path} does not exist; {again}")
    try:
        found = files.arrays(path)
        images, shown, source = (found.pop(f"@{name}") for name in ("images", "shown", "source"))
        original, made = (str(found.pop(name, "")) for name in ("@original", "@made"))
        parts = _probes(found)
        inputs = {name[6:]: found.pop(name) for name in list(found) if name.startswith("input:")}
        found = {name.removeprefix("layer:"): array for name, array in found.items()}
        activations = Activations(inputs, found, images.tolist(), int(shown), str(source))
        activations.original, activations.probes = original, parts
        activations.made = json.loads(made) if made else {}
        records.check(activations.made, MADE)
        arrays = [*inputs.values(), *found.values()]
        if not inputs or any(len(array) != len(activations.images) for array in arrays):
            raise ValueError("not as many outputs as images")
        if images.dtype.kind != "U" or any(array.dtype.kind not in "fiub" for array in arrays):
            raise ValueError("no names, or no numbers")
        activations.images[activations.shown]
    except files.Damaged as error:
        raise Failure(f"{path}: {error}; {again}") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Failure(f"{path} is damaged ({error}); {again}") from None
    return activations


def made_of(path):
    """What `comment.header` says of the model's use, of the file's small parts; {} if not there."""
    try:
        with zipfile.ZipFile(path) as members:
            source, made = (_text(members, name) for name in ("@source", "@made"))
        made = json.loads(made)
        records.check(made, MADE)
        given = Preprocessing.of(**made.get("preprocessing", {}))
        prepared = given.line if given.given else None
        return {"source": source, "model": made.get("model"), "prepared": prepared}
    except (Failure, OSError, ValueError, KeyError, TypeError, EOFError, *DAMAGED):
        return {}  # step 6 says what is wrong with the file


def _text(members, name):
    with members.open(f"{name}.npy") as member:
        return str(np.lib.format.read_array(member, allow_pickle=False))


def _probes(found):
    """The `Probes` among the arrays of the file, which are taken out."""
    if int(found.pop("@probes")) != VERSION:
        raise ValueError("its probes are those of another version")
    parts = []
    for kind in PROBES:
        start = f"@{kind}:"
        keys = [key for key in found if key.startswith(start)]
        parts.append({key.removeprefix(start): found.pop(key) for key in keys})
    regions, outputs, floors = parts
    if any(array.dtype.kind != "f" for part in parts for array in part.values()):
        raise ValueError("no numbers")
    shapes = [array.shape for array in regions.values()]
    if not shapes or any(len(shape) != 4 or shape[2] != 2 or 0 in shape for shape in shapes):
        raise ValueError("not the regions of probes")
    if any(len(array) != len(outputs.get(name, ())) for name, array in floors.items()):
        raise ValueError("not as many outputs as probes")
    return Probes(regions, outputs, floors)


def statistics(array):
    """Mean and variance as the reference prints them."""
    with np.errstate(invalid="ignore"):  # NaN and infinity are told by the figures
        values = np.asarray(array, np.float64)
        return figure(values.mean()), figure(values.var())


def figure(value):
    """Two decimals; three significant digits where that would leave nothing."""
    return f"{value:.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:.3g}"


def print_statistics(layers):
    """A line a layer: its name, the mean and the variance of its output."""
    width = max([30, *(len(name) + 3 for name in layers)])
    for name, array in layers.items():
        mean, variance = statistics(array)
        print(f"{name:.<{width}}: {f'mean={mean},':<12} var={variance}")
