"""The two functions of the package, `convert` and `prove`, and the steps that they consist of.

The six scripts and `python -m tf2caffe` call the same functions. None of them exits, reads the
command line, or leaves a setting of the process other than it was. A model that cannot be converted
raises `Failure`, whose text says why, one line a cause.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tf2caffe.caffe import forms
from tf2caffe.failure import Unsupported, refuse_idle
from tf2caffe.graph.preprocessing import Preprocessing
from tf2caffe.paths import Handoff
from tf2caffe.proof import activations, runtimes, verdict
from tf2caffe.proof.verdict import TOLERANCE


@dataclass
class Conversion:
    """A converted network.

    `handoff` has the paths of its files, `handoff.prototxt` and `handoff.caffemodel` among them;
    `forms` are the inspectable form and, if asked for, the deploy form, each with `net` (the
    layers), `text` (the prototxt) and `table` (which blob contains which of TensorFlow's outputs,
    and `table.outputs`, the model's). `source` is the traced model: `prove` runs it in TensorFlow.
    """

    handoff: Handoff
    forms: list = field(repr=False)
    source: object = field(repr=False)
    mapped: object = field(repr=False)

    @property
    def files(self):
        """The prototxt and the caffemodel of each form."""
        paths = [(form.handoff.prototxt, form.handoff.caffemodel) for form in self.forms]
        return [path for pair in paths for path in pair]


def convert(
    model, *, name=None, folder=".", target=None, deploy=False, output_order=None, prototxt=None,
    allow_cost=False, network=None, shape=None, custom=None, weights=None, switches=None,
    signature=None, inputs=None, outputs=None, dequantise=False, diagram=False, preprocessing=None,
    report=None,
):  # fmt: skip
    """Convert a model and write the network's files below `folder`; return the `Conversion`.

    `model` is a path (a .keras or .h5 file, a SavedModel folder, a frozen .pb, the .meta of a TF1
    checkpoint, a .tflite), a Keras model in memory, or a name that is registered in models/: then
    `network` is its module, and folder/checkpoints/NAME.keras is read.

    What is built:
    name          the network's name, which the files get (default: the file's stem, the model's
                  name)
    target        a name that `build_caffe.py --target list` prints (default: "portable")
    deploy        also build the form for chips: layers folded, activations in place, the same
                  outputs
    output_order  the order of the elements of an output that is not an image: "tensorflow"
                  (default) or "caffe", which adds no layers
    prototxt      the path of a network written by hand, which takes the weights by layer name
    allow_cost    build also what adds more than the bounds of `caffe.cost` to TensorFlow's cost
    diagram       draw the network too: imgs/NAME/caffe-net.png
    preprocessing a `Preprocessing` of images; if it is `folded`, it becomes a part of the network
    report        is called with a line for each weight

    How the model is read:
    shape         the input's size, [1, H, W, C], where the model leaves it open; of several inputs
                  {name: size}
    custom        a Python file that registers custom layers; it is run
    signature     of a SavedModel or a .tflite (default: serving_default, or the only one)
    switches      {name: True, False or a number} of what else a graph is fed
    weights       the path of the weights of a .json, which holds a model without them
    inputs        the names of ops or layers behind which the network begins (default: the model's)
    outputs       the names of those with which it ends (default: the model's)
    dequantise    take a quantised .tflite as the float network that its scales describe

    It writes nets/NAME.prototxt, .caffemodel and .blobs.json, with `deploy` NAME.deploy.* (without
    it, those of an earlier call are removed), and tf_weights/NAME/. An input (1, H, W, C) of
    TensorFlow's is a blob (1, C, H, W) in Caffe; an output of rank 4 likewise; other outputs have
    TensorFlow's order. Raises `Failure` if the model cannot be read, or contains what Caffe or the
    target cannot express, with all causes at once; the files in nets/ are then unchanged.
    """
    from tf2caffe.frontend import source as sources
    from tf2caffe.frontend import weights as writer

    named = {"signature": signature, "inputs": inputs, "outputs": outputs}
    named |= {"weights": weights, "switches": switches, "dequantise": dequantise}
    given = {"name": name, "folder": folder, "network": network, "shape": shape, "custom": custom}
    prototxt = prototxt and Path(prototxt)
    built_as = {"target": target, "output_order": output_order, "prototxt": prototxt}
    chosen = forms.check_options(**built_as)
    try:
        source = sources.open_model(model, **given, **named, preprocessing=preprocessing)
        writer.save(source.graph, source.handoff.weights, report)
    except Unsupported as refusal:
        from tf2caffe.frontend import later

        raise later.with_target(refusal, chosen, output_order) from None
    made = {"source": source.graph.source, "model": source.model}
    made["prepared"] = preprocessing.line if preprocessing and preprocessing.given else None
    built_as |= {"deploy": deploy, "allow_cost": allow_cost, "made": made}
    built = forms.build(source.handoff, **built_as)
    leave(built.forms, diagram)
    return Conversion(source.handoff, built.forms, source, built.mapped)


def leave(built, diagram=True):
    """Write the files of all forms at once, and draw each meanwhile; return the paths."""
    if not diagram:
        forms.replace_all(built)
        return [path for form in built for path in (form.handoff.prototxt, form.handoff.caffemodel)]
    from tf2caffe.pictures import diagram as drawing  # imports matplotlib

    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(forms.replace_all, built)
        for form in built:
            drawing.draw_network(form.handoff.diagram, form.net.layers, form.table, written.result)
    written.result()
    files = [form.handoff for form in built]
    return [
        path
        for one in files
        for path in (one.prototxt, one.caffemodel, one.diagram, one.diagram_svg)
    ]


def computed(source, inputs, images, shown=0, facts=None):
    """Step 3: what TensorFlow's layers compute of `inputs`, {input: (N, ...) float32}, and probes.

    `images` are the names of the N images, `facts` what `inputs.facts` gives. Returns
    `Activations`. Raises `Failure` where what was traced is not what the model itself gives.
    """
    from tf2caffe.frontend import original, tf_import
    from tf2caffe.frontend.source import run
    from tf2caffe.proof import probes

    layers = run(source, inputs)
    told = original.compared(source, inputs, layers)
    probed = probes.computed(source.graph, source.trace, source.tensors)
    state = source.graph.source
    made = {"versions": tf_import.versions()} | (facts or {})
    made |= {"model": source.model} if source.model else {}
    return activations.Activations(inputs, layers, images, shown, state, told, made, probed)


def prove(
    converted, *, folder=".", deploy=False, tolerance=TOLERANCE, runtime="auto", caffe_python=None,
    timeout=runtimes.TIMEOUT, data=None, images=None, bgr=False, mean=None, std=None, scale=None,
    preprocessing=None, image=None,
):  # fmt: skip
    """Run the Caffe network beside TensorFlow's, layer by layer; return the `Verdict`.

    `converted` is a `Conversion`: TensorFlow is run on the input first, which writes
    activations/NAME.npz. Or it is the name of a network whose steps 3 to 5 have written their files
    below `folder`: then TensorFlow is not needed.

    The input of a `Conversion`, images first, channels last:
    data          an array (N, ...), {input: (N, ...)}, or the path of a .npy or .npz of such
    images        instead: an image, or a folder of images (default: the network's test images, else
                  random numbers)
    bgr, mean, std, scale   how images are prepared: minus the mean (red, green, blue), divided by
                  std or times the scale, blue first
    preprocessing the same as a `Preprocessing`, which may be folded, as `convert` took it
    image         the name of the image that pictures show (default: img3, else the first)

    How it is compared:
    deploy        compare the deploy form
    tolerance     the largest error of a layer, relative to the layer's largest number
    runtime       "pycaffe", "opencv", "auto" (pycaffe if there is one), or a started `Runtime`
    caffe_python  a Python that has caffe
    timeout       seconds for one run of the network

    The verdict has `equal`, `why` (what is not equal, in a line; None if equal) and `rows`: a row a
    layer, with `name`, `blob`, `error` (from the input on), `own` (the layer alone), `probed` (on
    probes), and both sides, `tf` and `caffe`, (N, ...). `print(verdict)` prints one line. It writes
    nets/NAME.parity.json. Raises `Failure` where files are missing or do not fit, or no runtime can
    run the network; a network that is not equal raises nothing.
    """
    prepared = {"bgr": bgr, "mean": mean, "std": std, "scale": scale}
    given, kept = {"data": data, "images": images}, None
    if isinstance(converted, Conversion):
        handoff = converted.handoff
        given["preprocessing"] = preprocessing or Preprocessing.of(**prepared)
        kept = _kept(converted.source, given, image)
        activations.save(handoff.activations, kept)
        converted, folder = handoff.name, handoff.root
    else:
        refuse_idle(
            f"{converted} is a name; its input is on disk", **given, **prepared, image=image
        )
    found = verdict.load(converted, folder, deploy, kept)
    with started(runtime, caffe_python, timeout, found.network) as engine:
        result = verdict.judge(found, engine, tolerance)
    result.save()
    return result


def _kept(source, given, image):
    """TensorFlow's activations on what the user gives."""
    from tf2caffe.frontend import inputs

    inputs.check(source.handoff, **given, image=image)
    arrays, names = inputs.load(
        source.handoff, source.graph.inputs, bool(source.graph.channels_first()), **given
    )
    facts = inputs.facts(source.handoff, names, **given)
    return computed(source, arrays, names, inputs.position(image, names), facts)


def started(runtime, caffe_python, timeout, network):
    """A context of the runtime that was asked for; one that was started before stays open."""
    if isinstance(runtime, runtimes.Runtime):
        return contextlib.nullcontext(runtime)
    return runtimes.choose(runtime, caffe_python, timeout, network)
