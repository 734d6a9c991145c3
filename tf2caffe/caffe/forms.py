"""Step 5: a network's inspectable and deploy form, built from the graph on disk; their files."""

import filecmp
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from tf2caffe.caffe import blobs, comment, cost, folding, handwritten, lowering, mapping, targets
from tf2caffe.caffe.blobs import Table
from tf2caffe.caffe.net import LIMIT, Net
from tf2caffe.failure import Failure
from tf2caffe.graph import graph
from tf2caffe.paths import Handoff, remove, replacing

BUFFER = 1 << 22  # bytes; a thread that writes often waits often for Python


class Form(NamedTuple):
    """One form of a network: where its files go, its layers, its prototxt, its table of blobs."""

    handoff: Handoff
    net: Net
    text: str
    table: Table


class Built(NamedTuple):
    """The graph that was read, the network as mapped, and its forms: inspectable, then deploy."""

    graph: graph.Graph
    mapped: Net
    forms: list


def build(handoff, target=None, allow_cost=False, **options):
    """The `Built` of the graph and the weights in `handoff`, checked; nothing is written.

    The options are those of `unchecked`; `allow_cost` allows what costs more than the bounds of
    `cost`. Raises `Failure` with all that Caffe or the target cannot take, or that costs too much.
    """
    name = check_options(target, options.get("output_order"), options.get("prototxt"))
    given, bounded = {}, not (allow_cost or options.get("prototxt"))
    if not options.get("prototxt"):
        network = _loaded(handoff)
        net, texts = attempt(network, name, options.get("output_order"), bounded)
        refuse(*texts)
        given = {"network": network, "net": net}
    built = unchecked(handoff, target, **options, **given)
    costly = cost.refusal(built.graph, built.forms[0].net) if bounded else ""
    last = built.forms[-1].net  # what the chip's compiler is to be fed
    refuse(costly, targets.refusal(last, name))
    return built


def refuse(*texts):
    """Raise `Failure` with these texts, of which those that are empty tell nothing."""
    if any(texts):
        raise Failure("\n".join(filter(None, texts)))


def _loaded(handoff):
    network = graph.load(handoff.graph)
    graph.load_weights(network, handoff.weights)
    return network


def attempt(network, name, output_order=None, bounded=True):
    """The network as mapped, and, where an op cannot be mapped, the texts that refuse it.

    They tell what the target lacks for the others too.
    """
    target = targets.TARGETS[name]
    net, problems = mapping.attempt(network, target, output_order or "tensorflow", bounded)
    if not problems:
        return net, []
    fitted = lowering.fit(net, target)
    costly = cost.refusal(network, fitted) if bounded else ""
    return net, [
        mapping.unmapped(network.name, problems.values()),
        costly,
        targets.refusal(fitted, name),
    ]


def unchecked(
    handoff, target=None, deploy=False, output_order=None, prototxt=None, network=None, net=None,
    made=None,
):  # fmt: skip
    """What `build` gives, also where the target does not take all of it.

    `target` is a name (default: portable, and bvlc for a network written by hand), `deploy` asks
    for that form too, `output_order` is "tensorflow" (default) or "caffe", `prototxt` the path of a
    network written by hand. `network` is the graph, if it is loaded, `net` what it was mapped to,
    `made` what the prototxt's comment says of how the model is used (see `comment.header`). Raises
    `Failure` with all that Caffe cannot express.
    """
    name = check_options(target, output_order, prototxt)
    network = network or _loaded(handoff)
    target = targets.TARGETS[name]
    if prototxt:
        net, table = handwritten.load(prototxt, network)
        table = replace(table, target=name)
        forms = [Form(handoff, net, handwritten.text(prototxt, net), table)]
    else:
        net = net or mapping.build(network, target, output_order or "tensorflow")
        fitted = lowering.fit(net, target)
        table = blobs.Table.of(net, name)
        text = comment.header(network, table, "inspectable", made) + fitted.prototxt()
        forms = [Form(handoff, fitted, text, table)]
    if deploy:
        forms.append(_deployed(network, net, forms[0], target, made))
    return Built(network, net, forms)


def check_options(target=None, output_order=None, prototxt=None):
    """The name of the target. Raises `Failure` where the options of `build` contradict."""
    name = target or ("bvlc" if prototxt else "portable")
    if name not in targets.TARGETS:
        raise Failure(f"--target {name}: the known ones are {', '.join(targets.TARGETS)}")
    if output_order not in (None, "caffe", "tensorflow"):
        raise Failure(f"--output-order {output_order}: the known ones are tensorflow, caffe")
    if prototxt and output_order:
        told = "it is written by hand, so its outputs lie as they are written"
        raise Failure(f"--output-order does not apply to --prototxt: {told}")
    return name


def _deployed(network, net, form, target, made):
    """The deploy form of the network as mapped; `form` is the inspectable one."""
    handoff = Handoff(form.handoff.root, form.handoff.name, deploy=True)
    outputs = folding.outputs_of(network, form.table)
    smaller = folding.deploy(net, outputs, target)
    table = folding.surviving(form.table, net, smaller)
    blobs = [layer.tops for layer in smaller.layers]
    smaller, aliases = folding.named(net, smaller, {*outputs, *smaller.outputs()})
    renamed = [pair for old, layer in zip(blobs, smaller.layers, strict=True)
               for pair in zip(old, layer.tops, strict=True)]  # fmt: skip
    table = table.renamed(dict(renamed), aliases)
    text = comment.header(network, table, "deploy", made) + smaller.prototxt()
    return Form(handoff, smaller, text, table)


def replace_all(forms):
    """Leave the files of each form in the place of an earlier build's."""
    write_all(forms)
    if len(forms) == 1:
        _remove_deployed(forms[0][0])


def write_all(forms):
    """Leave the files of each form, or after an error, none. The proof of others goes."""
    with ExitStack() as stack:
        stale = [form[0].parity for form in forms if not _write_beside(stack, *form)]
        for path in stale:
            path.unlink(missing_ok=True)


def _write_beside(stack, handoff, net, text, table):
    """Write the three files, which take their places when `stack` ends; beyond protobuf's limit,
    none. Return whether they hold what is there already.
    """
    size = net.bytes_of_weights()
    if size > LIMIT:
        raise Failure(
            f"{handoff.name} has {size:,} bytes of weights; protobuf, and so Caffe, "
            f"reads files of at most {LIMIT:,}"
        )
    paths = handoff.caffemodel, handoff.prototxt, handoff.blobs
    model, prototxt, blobs_file = (stack.enter_context(replacing(path)) for path in paths)
    with model.open("wb", BUFFER) as file:
        net.write_caffemodel(file)
    prototxt.write_text(text, encoding="utf-8")
    table.write(blobs_file)
    return all(map(_same, (model, prototxt, blobs_file), paths))


def _remove_deployed(handoff):
    """Remove an earlier build's deploy form, which is of another network."""
    former = Handoff(handoff.root, handoff.name, deploy=True)
    files = former.parity, former.blobs, former.prototxt, former.caffemodel
    compared = former.imgs.glob(f"{former.compare.stem}*.png")
    for path in (*files, former.diagram, former.diagram_svg, *compared):
        remove(path)


def _same(first, second):
    """Whether both files exist and hold the same."""
    return second.exists() and filecmp.cmp(first, second, shallow=False)
