"""The mapping table: one function for each TensorFlow op, to the Caffe layers that equal it.

Each takes the node and the network under construction and returns the blob that holds the op's
output; the last layer of an expansion carries the node's layer name. Where Caffe has a layer for
the op, that layer is emitted (ELU, AbsVal, PReLU, Slice ...), and ReLU6, which some chips have;
`lowering` then replaces the layers that the target does not take. What is composed of several
layers uses only those that all consumers (OpenCV, OpenVINO, RKNN, MNN, ncnn) compute alike.
"""

from collections import Counter
from math import prod

import numpy as np

from tf2caffe.caffe import outputs, products, schema, targets
from tf2caffe.caffe.builder import Builder, Refused, dilated, embedded, mistaken
from tf2caffe.caffe.naming import layer_of
from tf2caffe.failure import Failure, listed
from tf2caffe.graph.layout import described, final, reduced_axes, regrouped, usual

LARGE = 256  # numbers in one window
STEEP = 1e4  # taken twice; half precision, as chips compute, has no 1e8


class Mapping(Builder):
    """A network that knows which blob holds which TensorFlow tensor, and in which order.

    `arranged` holds the blobs of tensors that were put in another order. `results` are the model's
    outputs as `outputs.Output`s; `copies` are the blobs that are outputs and nothing else, each as
    (tensor, blob, layout).
    """

    def __init__(self, graph, target, output_order="tensorflow"):
        super().__init__(graph.name, graph.names)
        self.graph, self.target = graph, target
        self.layouts = graph.layouts
        self.as_it_lies, self.first = output_order != "tensorflow", graph.channels_first()
        self.last = outputs.last(graph)
        self.blobs, self.arranged, self.results, self.copies = {}, {}, [], []
        self.pieces = {}  # op -> its top of the Slice that was made for another op

    def final(self, tensor):
        """How a tensor lies that is an output."""
        layout = self.layouts[tensor]
        if self.as_it_lies:
            return layout
        return layout.as_tensorflow() if tensor in self.first else final(layout)

    def rename(self, name):
        """Give the last layer, and its blob, the name that the node has; return it."""
        former = self.layers[-1].name
        shape = self.shapes.pop(former)  # so that the name that it has is free
        name = self.free(name)
        self.shapes[former] = shape
        self.rename_last(name, name)
        for key, blob in self.arranged.items():
            self.arranged[key] = name if blob == former else blob
        return name

    def drop(self):
        """Remove the last layer, which no other layer reads; return the blob that it read."""
        layer = self.layers.pop()
        del self.shapes[layer.name]
        return layer.bottoms[0]

    def blob(self, node, at=0):
        """The blob of the node's input, in whichever order it is."""
        name = node.inputs[at]
        if self.blobs[name] is None:
            raise Refused(f"it reads {name}, which is left to the caller")
        return self.blobs[name]

    def make_plain(self, node, at=0):
        """The blob of the node's input as plain NCHW; layers that reorder it are added once."""
        name = node.inputs[at]
        self.blob(node, at)
        return self.put_in_order(node.layer, name, self.layouts[name].nchw())

    def put_in_order(self, prefix, name, wanted):
        """The blob of the tensor `name` as it lies in the layout `wanted`, made once."""
        blob, layout = self.blobs[name], self.layouts[name]
        if layout.lies_as(wanted):
            return blob
        key = name, wanted.caffe_shape, tuple(wanted.runs())
        if key not in self.arranged:
            blob = self.reorder(f"{prefix}/order", blob, layout, wanted)
            self.arranged[key] = self.view(f"{prefix}/shape", blob, wanted.caffe_shape)
        return self.arranged[key]

    def reorder(self, name, blob, layout, wanted):
        """The blob's elements in another order, under any axes."""
        if layout.runs() == wanted.runs():
            return blob
        if layout.index:
            return self._joined_in_order(name, blob, layout.parts)
        channels = layout.channel_order()
        if channels is not None and wanted.order == layout.nchw().order:
            blob = self.view(f"{name}/shape", blob, wanted.caffe_shape)
            kernel = self.picking(len(channels), len(channels))[np.argsort(channels)]
            return self.convolve(name, blob, kernel[:, :, None, None])
        sizes = [layout.sizes[atom] for atom in layout.order]
        order = [layout.order.index(atom) for atom in wanted.order]
        return self.permute(name, blob, sizes, order)

    def _joined_in_order(self, name, blob, parts):
        """A vector joined of others: cut, each of them put in order, joined again."""
        length, start, blobs = self.shapes[blob][1], 0, []
        row = self.reshape(f"{name}/row", blob, (1, 1, length))
        for at, part in enumerate(parts):
            (size,), piece = part.tf_shape, f"{name}/part{at}"
            cut = self.place(piece, row, (0, -start), (0, start + size - length))
            cut = self.reorder(f"{piece}/order", cut, part, part.as_tensorflow())
            blobs.append(self.reshape(f"{piece}/vector", cut, (size,)))
            start += size
        return self.add("Concat", name, blobs)

    def shape(self, node, at=0):
        """The shape of the node's input after the batch, in TensorFlow's order."""
        return self.layouts[node.inputs[at]].tf_shape

    def settle(self, node, blob):
        """The blob under the Caffe axes of the node's layout: with another shape, if need be."""
        shape = self.layouts[node.name].caffe_shape
        return blob if self.shapes[blob][1:] == shape else self.reshape(node.layer, blob, shape)

    def regroup(self, node, blob, layout):
        """The blob, which lies in this layout, under the axes of the node's output."""
        if regrouped(layout, node.shape[1:])[1]:
            blob = self.reorder(f"{node.layer}/order", blob, layout, layout.as_tensorflow())
        return self.settle(node, blob)

    def constant(self, name, array):
        """A blob that holds `array` whatever the input is: a dense layer's bias."""
        source = self.blobs[next(iter(self.graph.inputs))]
        channels, *size = self.shapes[source][1:]
        if len(size) > 2:
            source = self.reshape(f"{name}/image", source, (channels, prod(size), 1))
        if size:
            pool = {"pool": "AVE", "global_pooling": True}
            source = self.add("Pooling", f"{name}/any", source, pooling_param=pool)
        zeros = np.zeros((1, channels), np.float32)
        one = self.multiply(f"{name}/one", source, zeros, np.ones(1, np.float32))
        column = np.ascontiguousarray(array, np.float32).reshape(-1, 1)
        return self.reshape(name, self.multiply(f"{name}/flat", one, column), array.shape)


def build(graph, target=targets.TARGETS["portable"], output_order="tensorflow"):
    """The Caffe network of a graph whose weights are loaded, to be fitted to a `targets.Target`.

    `output_order` is "tensorflow" (see `layout.final`), or "caffe": nothing is moved for outputs.
    Raises `Failure` that lists every op that cannot be mapped.
    """
    net, problems = attempt(graph, target, output_order)
    if problems:
        raise Failure(unmapped(graph.name, problems.values()))
    return net


def unmapped(name, problems):
    """The text of a refusal."""
    return listed(f"{len(problems)} op(s) of {name} cannot be taken to Caffe", problems)


def attempt(
    graph, target=targets.TARGETS["portable"], output_order="tensorflow", bounded=False, ended=True
):  # fmt: skip
    """The network, and {op: the line of why it cannot be mapped}.

    Inputs stand for these ops. Where there are any, or it shall not be `ended`, the network has no
    last layers. `bounded` refuses kernels that are too large: see `Builder`.
    """
    net, problems = Mapping(graph, target, output_order), {}
    net.bounded = bounded
    for name in graph.inputs:
        net.blobs[name] = _input(net, name)
    for node in graph.nodes:
        made = len(net.layers), dict(net.shapes), dict(net.arranged)
        try:
            net.blobs[node.name] = _mapped(node, net)
        except (Refused, Failure) as reason:
            problems[node.name] = f"{node.name} ({node.op}): {reason}"
            _take_back(net, *made)
            net.blobs[node.name] = _input(net, node.name)
    if ended and not problems:
        _refuse_nothing(graph, net)
        _end(net)
    return net, problems


def _input(net, name):
    sizes = [1, *net.layouts[name].caffe_shape]
    return net.add("Input", name, input_param={"shape": [{"dim": sizes}]})


def _take_back(net, count, shapes, arranged):
    """Remove the layers that were made for an op before it was refused."""
    del net.layers[count:]
    net.shapes, net.arranged = shapes, arranged


def _refuse_nothing(graph, net):
    if graph.nodes and all(net.blobs[node.name] is None for node in graph.nodes):
        raise Failure(f"{graph.name} is ArgMax alone, which is left to the caller; there is no net")


def _mapped(node, net):
    if node.op not in OPS:
        raise Refused("tf2caffe does not convert it; end the network before it")
    made = len(net.layers)
    blob = OPS[node.op](node, net)
    if blob is None:
        return None
    expected = (1, *net.layouts[node.name].caffe_shape)
    if net.shapes[blob] != expected:
        raise Refused(f"Caffe would make {net.shapes[blob]} of it, TensorFlow makes {expected}")
    if node.name in net.last:
        blob = _finished(node, net, blob, made)
    own = len(net.layers) > made and len(net.layers[-1].tops) == 1
    return net.rename(node.layer) if own else blob


def _finished(node, net, blob, made):
    """The blob of an output that no op reads, in its final order.

    The op's own layers are those after the first `made`.
    """
    layout = net.layouts[node.name]
    wanted = net.layouts[node.name] = net.final(node.name)
    if layout.lies_as(wanted):
        return blob
    if node.op == "ConcatV2" and layout.index:
        net.drop()
        return _joined(node, net, net.make_plain)
    while len(net.layers) > made and net.layers[-1].type in ("Flatten", "Reshape"):
        blob = net.drop()  # the swaps take the view that they need
    if len(net.layers) > made:
        blob = net.rename(f"{node.layer}/caffe")
    blob = net.reorder(f"{node.layer}/order", blob, layout, wanted)
    return net.view(node.layer, blob, wanted.caffe_shape)


def _end(net):
    """A layer for each of the outputs that no other layer reads; they are the last, in order."""
    tensors, ends = outputs.ends(net.graph)
    found = [_in_final_order(net, tensor, tensors.count(tensor) == 1) for tensor in tensors]
    shared = _shared(net, found)
    for at, (tensor, blob) in enumerate(zip(tensors, found, strict=True)):
        if blob in shared:
            found[at] = _copied(net, tensor, blob)
        if found[at] != net.blobs[tensor]:
            net.copies.append((tensor, found[at], net.final(tensor)))
    makers = {layer.tops[0]: layer for layer in net.layers}
    last = [makers[blob] for blob in found]
    net.layers = [layer for layer in net.layers if layer not in last] + last
    net.results = [_result(net, end, tensors[end.place], found[end.place]) for end in ends]
    outputs.check(net, found)


def _shared(net, found):
    """The blobs of outputs that cannot be the net's own: a layer or another output reads them.

    Nor can the inputs, or the later tops of a Slice.
    """
    read = Counter([*found, *(bottom for layer in net.layers for bottom in layer.bottoms)])
    first = {layer.tops[0] for layer in net.layers} - {net.blobs[name] for name in net.graph.inputs}
    return {blob for blob in found if read[blob] > 1 or blob not in first}


def _copied(net, tensor, blob):
    """A layer that gives an output a blob of its own."""
    copy = net.affine(_name_of_last(net, tensor), blob)
    if tensor in net.last - net.graph.inputs.keys():  # a reshape that took no layer
        net.blobs[tensor] = copy
    return copy


def _in_final_order(net, tensor, once):
    """The blob of an output in its final order, which another layer may read.

    One does, if the tensor is not an output `once`.
    """
    made, name = len(net.layers), _name_of_last(net, tensor)
    blob = net.put_in_order(name, tensor, net.final(tensor))
    return net.rename(name) if once and len(net.layers) > made else blob


def _name_of_last(net, tensor):
    """The name of a layer that is there for the output alone."""
    layer = {node.name: node.layer for node in net.graph.nodes}.get(tensor, tensor)
    layer = net.graph.caffe_name(layer)
    return layer if layer not in net.shapes else f"{layer}/output"


def _result(net, end, tensor, blob):
    order = described(net.final(tensor))
    return outputs.Output(end.name, end.op, blob, list(net.shapes[blob]), order, end.axis)


def argmax(node, net):
    """Left out: no two consumers agree on ArgMax. The label is the index of the largest answer."""
    if node.name not in net.graph.outputs.values():
        raise Refused("ArgMax inside a network has no portable equal; end the network before it")


def batch_norm(node, net):
    """TensorFlow normalises and rescales in one op; Caffe takes two layers.

    Without eps, Caffe would take 1e-5.
    """
    _channels_last(node)
    mean, variance = node.array("mean"), node.array("variance")
    gamma = node.array("gamma") if "gamma" in node.weights else np.ones_like(mean)
    beta = node.array("beta") if "beta" in node.weights else np.zeros_like(mean)
    unscaled = np.ones(1, np.float32)  # Caffe divides mean and variance by this third blob
    alike = net.layouts[node.name] == net.layouts[node.inputs[0]]
    x = net.add(
        "BatchNorm", layer_of(node, "mean"), net.blob(node) if alike else net.make_plain(node),
        [mean, variance, unscaled],
        batch_norm_param={"eps": float(node.attrs["epsilon"]), "use_global_stats": True},
    )  # fmt: skip
    return net.add("Scale", node.layer, x, [gamma, beta], scale_param={"bias_term": True})


def _channels_last(node):
    if node.attrs.get("data_format", "NHWC") != "NHWC":
        raise Refused("data_format is not NHWC; build the model with channels_last")


def convolution(node, net):
    """Any stride, dilation, padding and grouping; uneven padding is embedded in the kernel.

    A dilated kernel cannot be padded unevenly so, nor can one that crops (padding below 0).
    """
    kernel, stride, dilation = node.array("kernel"), *_spatial(node, "strides", "dilations")
    pads = _pads(node, net.shape(node), kernel.shape[2:], stride, dilation)
    kernel, dilation = _evenly_dilated(kernel, dilation, net.shape(node)[:2], pads)
    kernel, pads = _within(kernel, pads, net.shape(node), node.shape[1:3], stride, dilation)
    bottom = net.make_plain(node)
    settings = zip(dilation, pads, strict=True)
    if any((d > 1 and pair[0] != pair[1]) or min(pair) < 0 for d, pair in settings):
        bottom = net.place(f"{node.layer}/pad", bottom, *zip(*pads, strict=True))
        pads = [(0, 0), (0, 0)]
    pad = [max(pair) for pair in pads]
    kernel = embedded(kernel, pads)
    return net.convolve(node.layer, bottom, kernel, _bias(node), stride, pad, dilation)


def patches(node, net):
    """A depthwise convolution with a kernel for each place of the window."""
    size, stride, dilation = _spatial(node, "ksizes", "strides", "rates")
    channels, count = net.shape(node)[2], prod(size)
    kernel = np.tile(np.eye(count, dtype=np.float32).reshape(count, 1, *size), (channels, 1, 1, 1))
    pads = _pads(node, net.shape(node), size, stride, dilation)
    kernel, dilation = dilated(kernel, dilation), (1, 1)
    bottom, pad = net.make_plain(node), [max(pair) for pair in pads]
    return net.convolve(node.layer, bottom, embedded(kernel, pads), None, stride, pad)


def _bias(node):
    return node.array("bias") if "bias" in node.weights else None


def _spatial(node, *names):
    """Attributes of four numbers (NHWC) as (h, w) each; batch and channels are left alone."""
    _channels_last(node)
    for name in names:
        if node.attrs[name][0] != 1 or node.attrs[name][3] != 1:
            raise Refused(
                f"{name} {node.attrs[name]} reaches across batch or channels; give 1 for both"
            )
    return [tuple(node.attrs[name][1:3]) for name in names]


def _pads(node, size, kernel, stride, dilation=(1, 1)):
    """Zeros (before, after) along h and w. TensorFlow's SAME puts the odd one after."""
    if node.attrs["padding"] == "VALID":
        return [(0, 0), (0, 0)]
    if node.attrs["padding"] == "EXPLICIT":
        pads = node.attrs["explicit_paddings"]
        return [(pads[2], pads[3]), (pads[4], pads[5])]
    if node.attrs["padding"] != "SAME":
        raise Refused(f"padding {node.attrs['padding']!r} is not known")
    return list(map(same_padding, size, kernel, stride, dilation))


def same_padding(length, k, s, d=1):
    """Zeros (before, after) along one axis, of a kernel of k, a stride of s and a dilation of d."""
    total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
    return total // 2, total - total // 2


def _evenly_dilated(kernel, dilation, size, pads):
    """The kernel, and its dilation along h and w, which is 1 where zeros in the kernel make it up.

    Caffe has no dilation_h, and a list of two is not read by all consumers.
    """
    steps = {step for step, k in zip(dilation, kernel.shape[2:], strict=True) if k > 1} or {1}
    even = (max(steps),) * 2  # along an axis that the kernel does not reach any will do
    if len(steps) > 1 or mistaken(kernel, size, pads, even):
        return dilated(kernel, dilation), (1, 1)
    return kernel, even


def _within(kernel, pads, size, out, stride, dilation=(1, 1)):
    """The kernel without the rows and columns that meet nothing but padding, and its pads.

    OpenCV's depthwise convolution is wrong where a 3x3 kernel meets an image of one pixel. (One
    that is dilated stays whole: its rows lie further apart than its padding can be cut.)
    """
    if dilation != (1, 1):
        return kernel, pads
    ((top, high), (left, wide)), pads = _met(kernel.shape[2:], pads, size, out, stride)
    return kernel[:, :, top : top + high, left : left + wide], pads


def _met(kernel, pads, size, out, stride):
    """Along h and w, where the part of the kernel begins that meets the image, and its length.

    And what is left of the pads then.
    """
    spans, inner = [], []
    settings = zip(kernel, pads, size, out, stride, strict=False)
    for k, (before, after), n, o, s in settings:
        starts = [i * s - before for i in range(o)]
        meets = [(max(0, -at), min(k, n - at)) for at in starts]  # what of each window is inside
        meets = [(first, end) for first, end in meets if first < end]
        meets = meets or [(0, k)]  # nothing but padding: it stays whole
        first, end = min(meets)[0], max(end for _, end in meets)
        spans.append((first, end - first))
        inner.append((before - first, after - (k - end)))
    return spans, inner


def transposed_convolution(node, net):
    """Caffe cuts the padding from both sides alike: zeros in the kernel make up for the rest.

    TensorFlow's output is the gradient of a convolution whose input had that size.
    """
    kernel, stride, dilation = node.array("kernel"), *_spatial(node, "strides", "dilations")
    if dilation != (1, 1):
        kernel = dilated(kernel, dilation)
    size, out = net.shape(node), node.shape[1:3]
    pads = _pads(node, out, kernel.shape[2:], stride)
    ends = []  # how much longer than the full result TensorFlow's is, after the cut before
    for n, o, k, s, (before, _) in zip(size, out, kernel.shape[2:], stride, pads, strict=False):
        ends.append(o - (s * (n - 1) + k - before))
    # kernel zeros before it shift the result, zeros after it lengthen it; Caffe then cuts p twice
    cut = [max(before, -end) for (before, _), end in zip(pads, ends, strict=True)]
    zeros = [(p - b, p + end) for p, (b, _), end in zip(cut, pads, ends, strict=True)]
    kernel = np.pad(kernel, [(0, 0), (0, 0), *zeros]) if any(map(any, zeros)) else kernel
    return net.deconvolve(node.layer, net.make_plain(node), kernel, _bias(node), stride, cut)


def dense(node, net):
    """InnerProduct of a vector; of an image or sequence, pixel by pixel, a 1x1 Convolution."""
    if node.attrs["transpose_a"]:
        raise Refused("its input is transposed (transpose_a), which tf2caffe does not convert yet")
    kernel, bias = node.array("kernel"), _bias(node)
    if len(net.shape(node)) > 3:
        channels, *size = net.shapes[net.make_plain(node)][1:]
        image = (channels, prod(size[:-1]), size[-1])
        blob = net.reshape(f"{node.layer}/image", net.make_plain(node), image)
        blob = net.convolve(f"{node.layer}/product", blob, kernel[:, :, None, None], bias)
        return net.settle(node, blob)
    if len(net.shape(node)) > 1:
        return net.convolve(node.layer, net.make_plain(node), kernel[:, :, None, None], bias)
    return net.multiply(node.layer, net.blob(node), kernel, bias)


def max_pool(node, net):
    """Windows that reach past the edge are cut, in both; Caffe rounds their number up."""
    kernel, stride = _spatial(node, "ksize", "strides")
    size, out = net.shape(node)[:2], node.shape[1:3]
    spans, pads = _met(kernel, _pads(node, size, kernel, stride), size, out, stride)
    kernel = [length for _, length in spans]
    excess = _excess(size, out, kernel, stride, pads)
    bottom = _cut(node, net, excess)
    size = [n - unread for n, unread in zip(size, excess, strict=True)]
    fits = [_windows(*axis) for axis in zip(size, out, kernel, stride, pads, strict=True)]
    if None in fits:
        raise Refused(f"Caffe cannot pad {pads} around windows {kernel} at strides {stride}")
    pad, first, last = zip(*fits, strict=True)
    name = f"{node.layer}/pool" if any(first + last) else node.layer
    blob = net.pool(name, "MAX", bottom, kernel, stride, pad)
    if not any(first + last):
        return blob
    return net.place(node.layer, blob, [-n for n in first], [-n for n in last])


def _windows(size, out, kernel, stride, pads):
    """Along one axis: the padding of both sides, and how many windows are too many at each end.

    Caffe pads both sides alike, by less than the kernel, and rounds the number of windows up; the
    last of them starts inside the image or the padding before it.
    """
    for first in range(out + kernel):
        pad = pads[0] + first * stride
        count = -(-(size + 2 * pad - kernel) // stride) + 1
        count -= bool(pad) and (count - 1) * stride >= size + pad
        if pad >= kernel:
            return None
        if count >= first + out:
            return pad, first, count - first - out
    return None


def _excess(size, out, kernel, stride, pads):
    """Rows and columns that no window reaches: Caffe, rounding up, would add one that does."""
    excess = []
    for n, o, k, s, (before, after) in zip(size, out, kernel, stride, pads, strict=True):
        unread = n - ((o - 1) * s + k - before)
        excess.append(unread if unread > 0 and before == after == 0 else 0)
    return excess


def _cut(node, net, excess):
    bottom = net.make_plain(node)
    if not any(excess):
        return bottom
    return net.place(f"{node.layer}/cut", bottom, (0, 0), [-n for n in excess])


def average_pool(node, net):
    """TensorFlow averages real cells only; with padding the sum is divided by the sum of ones."""
    kernel, stride = _spatial(node, "ksize", "strides")
    size, out = net.shape(node)[:2], node.shape[1:3]
    pads = _pads(node, size, kernel, stride)
    if not any(map(any, pads)):
        bottom = _cut(node, net, _excess(size, out, kernel, stride, pads))
        return net.pool(node.layer, "AVE", bottom, kernel, stride, (0, 0))
    bottom = net.make_plain(node)
    channels = net.shapes[bottom][1]
    ones = net.affine(f"{node.layer}/ones", bottom, 0.0, 1.0)
    ones_kernel = np.ones((channels, 1, *kernel), np.float32)
    ones_kernel, pads = _within(ones_kernel, pads, size, out, stride)
    kernel, pad = embedded(ones_kernel, pads), [max(pair) for pair in pads]
    total = net.convolve(f"{node.layer}/sum", bottom, kernel, stride=stride, pad=pad)
    count = net.convolve(f"{node.layer}/count", ones, kernel, stride=stride, pad=pad)
    share = net.affine(f"{node.layer}/share", count, power=-1.0)
    return net.eltwise(node.layer, "PROD", total, share)


def reduction(node, net):
    """Sum, Mean, Max or Min over height, width and channels, each set in its own way."""
    shape = net.shape(node)
    axes = reduced_axes(node, len(shape) + 1)
    if len(axes) == len(shape) + 1:  # all that there is, of the one image of a batch
        axes.remove(0)
    if 0 in axes:
        raise Refused("it reduces the batch axis; leave axis 0 out")
    if len(shape) > 3:
        return products.reduction(node, net, axes)
    caffe_axes = {len(shape): 1}  # TensorFlow's last axis is Caffe's channels
    if len(shape) > 1:
        caffe_axes |= {axis: axis + 4 - len(shape) for axis in range(1, len(shape))}
    axes = {caffe_axes[axis] for axis in axes}
    blob = net.make_plain(node)
    if not axes:
        return blob
    blob = REDUCTIONS[node.op](node, net, blob, axes)
    return net.settle(node, blob)


def _mean(node, net, blob, axes):
    """A pooling window over height and width, a weighted sum of the channels.

    Caffe adds up a window number by number: of a large one, rows first lose a tenth as much.
    """
    shape = net.shapes[blob]
    if axes & {2, 3}:
        kernel = [shape[axis] if axis in axes else 1 for axis in (2, 3)]
        if prod(kernel) > LARGE and min(kernel) > 1:
            blob = net.window(f"{node.layer}/rows", "AVE", blob, (1, kernel[1]))
            kernel[1] = 1
        blob = net.window(f"{node.layer}/pool", "AVE", blob, kernel)
    if 1 in axes:
        weights = np.full(shape[1], 1 / shape[1])
        blob = _weighted_sum(net, f"{node.layer}/channels", blob, weights)
    return blob


def _sum(node, net, blob, axes):
    count = prod(net.shapes[blob][axis] for axis in axes)
    return net.affine(f"{node.layer}/sum", _mean(node, net, blob, axes), float(count))


def _weighted_sum(net, name, blob, weights):
    """The channels added up into one."""
    weights = weights.astype(np.float32)
    if len(net.shapes[blob]) == 4:
        return net.convolve(name, blob, weights.reshape(1, -1, 1, 1))
    return net.multiply(name, blob, weights[None])


def _max(node, net, blob, axes):
    """Caffe pools over height and width only: the channels are made the height of an image."""
    if axes & {2, 3}:
        kernel = [net.shapes[blob][axis] if axis in axes else 1 for axis in (2, 3)]
        blob = net.window(f"{node.layer}/pool", "MAX", blob, kernel)
    return _channels_max(node.layer, net, blob) if 1 in axes else blob


def _channels_max(name, net, blob):
    """The largest of the channels, of an image or a vector."""
    c, *size = net.shapes[blob][1:]
    rows = net.reshape(f"{name}/rows", blob, (1, c, prod(size)))
    blob = net.window(f"{name}/largest", "MAX", rows, (c, 1))
    return net.reshape(f"{name}/image", blob, (1, *size))


def _min(node, net, blob, axes):
    """The largest of the negatives, negated."""
    blob = net.affine(f"{node.layer}/minus", blob, -1.0)
    return net.affine(f"{node.layer}/plus", _max(node, net, blob, axes), -1.0)


REDUCTIONS = {"Max": _max, "Mean": _mean, "Min": _min, "Sum": _sum}


def reshape(node, net):
    """The blob keeps its order of elements, if it can; whoever reads it knows that."""
    return net.regroup(node, net.blob(node), net.layouts[node.inputs[0]])


def transpose(node, net):
    """Nothing moves: the layout says which of Caffe's axes is which."""
    return net.settle(node, net.blob(node))


def concat(node, net):
    """Vectors are joined as they lie."""
    if len(node.shape) > 4:
        return products.concat(node, net)
    as_they_lie = len(node.shape) == 2 and not node.weights
    return _joined(node, net, net.blob if as_they_lie else net.make_plain)


def _joined(node, net, take):
    rank = len(node.shape)
    axis = node.attrs["axis"] % rank
    if axis == 0:
        raise Refused("it joins along the batch axis; join along another")
    computed = iter(range(len(node.inputs)))
    blobs = [
        _constant(node, net, role) if role in node.weights else take(node, next(computed))
        for role in products.joined(node)
    ]
    param = {"axis": _caffe_axis(axis, rank)}
    return net.add("Concat", node.layer, blobs, concat_param=param)


def _caffe_axis(axis, rank):
    """TensorFlow's axis of a tensor as Caffe counts it: the last one is that of the channels."""
    return 1 if axis == rank - 1 else axis + max(4 - rank, 0) + 1


def _constant(node, net, role):
    """A constant among what is joined."""
    return net.constant(f"{node.layer}/{role}", node.array(role))


def pad(node, net):
    """Zeros; a number is added where ones, padded alike, show that there is nothing else."""
    if len(node.shape) not in (3, 4):
        raise Refused("only images and sequences can be padded; join or reshape instead")
    pads, number = node.attrs["paddings"], node.attrs.get("constant_values", 0.0)
    if any(pads[0]) or any(pads[-1]):
        raise Refused(f"paddings {pads} reach across batch or channels; pad height and width only")
    sides = [(0, 0)] * (4 - len(node.shape)) + pads[1:-1]
    blob, sides = net.make_plain(node), list(zip(*sides, strict=True))
    if not number:
        return net.place(node.layer, blob, *sides)
    ones = net.place(f"{node.layer}/ones", net.affine(f"{node.layer}/one", blob, 0.0, 1.0), *sides)
    border = net.affine(f"{node.layer}/border", ones, -number, number)
    return net.eltwise(node.layer, "SUM", net.place(f"{node.layer}/pad", blob, *sides), border)


def strided_slice(node, net):
    """A top of a Slice, if it is one of the pieces that make up a tensor."""
    if node.name not in net.pieces and (pieces := _pieces(node, net)):
        _slice(
            net, net.make_plain(node), pieces, _caffe_axis(_cut_axis(node, net), len(node.shape))
        )
    return net.pieces[node.name] if node.name in net.pieces else _picked(node, net)


def _cut_axis(node, net):
    """The one axis of which a slice leaves something out; None if it is another kind of slice."""
    shape = (1, *net.shape(node))
    cut = [axis for axis, size in enumerate(node.attrs["sizes"]) if size != shape[axis]]
    whole = set(node.attrs["strides"]) == {1} and len(node.shape) == len(shape) <= 4
    return cut[0] if len(cut) == 1 and whole else None


def _pieces(node, net):
    """The slices that cut the same tensor, along one axis, into pieces side by side, in order.

    None where something is left out, or taken twice; or where a piece is an output, which may
    have to be put in order.
    """
    axis, length = _cut_axis(node, net), 0
    pieces = [
        other
        for other in net.graph.nodes
        if axis is not None and other.op == "StridedSlice" and other.inputs == node.inputs
        if _cut_axis(other, net) == axis
    ]
    pieces.sort(key=lambda piece: piece.attrs["begin"][axis])
    for piece in pieces:
        if piece.attrs["begin"][axis] != length or piece.name in net.last:
            return []
        length += piece.attrs["sizes"][axis]
    return pieces if axis is not None and length == (1, *net.shape(node))[axis] else []


def _slice(net, blob, pieces, axis):
    """A Slice at these Caffe's axis; its tops are called as the ops, which find theirs by name."""
    names = [net.free(piece.layer) for piece in pieces]
    points = [piece.attrs["begin"][_cut_axis(piece, net)] for piece in pieces[1:]]
    message = schema.LayerParameter(
        name=net.free(f"{names[0]}/slice"), type="Slice", bottom=[blob], top=names,
        slice_param={"axis": axis, "slice_point": points},
    )  # fmt: skip
    net.append(message, [])
    net.pieces |= {piece.name: name for piece, name in zip(pieces, names, strict=True)}


def _picked(node, net):
    """The channels of a vector by a dense layer; of an image, what is said below."""
    begin, sizes, steps = (node.attrs[key] for key in ("begin", "sizes", "strides"))
    shape, blob = (1, *net.shape(node)), net.make_plain(node)
    if len(shape) == 1:
        return net.settle(node, blob)
    if len(shape) > 4:
        raise Refused("only vectors, sequences and images can be cut; reshape before it")
    if any(step < 1 for step in steps[:-1]):
        raise Refused("it runs backwards through rows or columns; turn the image round before")
    channels = begin[-1] + steps[-1] * np.arange(sizes[-1])
    if len(shape) == 2:
        kernel = np.eye(shape[1], dtype=np.float32)[channels]
        return net.settle(node, net.multiply(f"{node.layer}/taken", blob, kernel))
    axes = list(zip(begin, sizes, steps, shape, strict=True))[1:-1]
    axes = [(0, 1, 1, 1)] * (4 - len(shape)) + axes
    return net.settle(node, _picked_of_image(node.layer, net, blob, axes, channels))


def _picked_of_image(name, net, blob, axes, channels):
    """A depthwise convolution picks rows and columns, a 1x1 convolution channels.

    `axes` are (begin, size, step, length) of rows and of columns.
    """
    first, last = [-b for b, _, _, _ in axes], [b + (s - 1) * t + 1 - n for b, s, t, n in axes]
    stride, total = [max(step, 1) for _, _, step, _ in axes], net.shapes[blob][1]
    if any(first) or any(last) or stride != [1, 1]:
        blob = net.place(f"{name}/rows", blob, first, last, stride)
    if channels.tolist() != list(range(total)):
        blob = net.pick(f"{name}/channels", blob, channels)
    return blob


def softmax(node, net):
    """Along TensorFlow's last axis, wherever that lies in Caffe."""
    layout, before = net.layouts[node.name], net.layouts[node.inputs[0]]
    if not layout.tf:
        raise Refused("its axis is that of the batch; leave axis 0 out")
    blob = net.blob(node) if layout.runs() == before.runs() else net.make_plain(node)
    blob = net.view(f"{node.layer}/axes", blob, layout.caffe_shape)
    axes = [set(axis) for axis in layout.caffe]
    axis = axes.index(set(layout.tf[-1])) + 1 if len(layout.tf) > 1 else 1
    param = {"axis": axis} if axis != 1 else {}
    return net.add("Softmax", node.layer, blob, softmax_param=param)


def log_softmax(node, net):
    """x - max - log(sum of e^(x - max)), where the sum is 1 / max(softmax(x)).

    The log of the softmax itself is lost where that underflows.
    """
    vector, name = len(net.shape(node)) == 1, node.layer
    x = net.blob(node) if vector else net.make_plain(node)
    if len(net.shape(node)) > 3:
        x = net.view(f"{name}/image", x, (net.shapes[x][1], prod(net.shapes[x][2:]), 1))
    share = net.add("Softmax", f"{name}/softmax", x)
    total = net.affine(f"{name}/sum", _channels_max(f"{name}/share", net, share), power=-1.0)
    log = _log_from_one(f"{name}/log", net, total, net.shapes[x][1])
    most = net.broadcast(f"{name}/all", _channels_max(f"{name}/most", net, x), net.shapes[x][1:])
    below = net.eltwise(f"{name}/below", "SUM", x, most, (1, -1))  # first: x may be large
    total = net.broadcast(f"{name}/spread", log, net.shapes[x][1:])
    last = f"{name}/difference" if len(net.shape(node)) > 3 else name
    return net.settle(node, net.eltwise(last, "SUM", below, total, (1, -1)))


def _log_from_one(name, net, blob, most):
    """The log of numbers from 1 to `most`; knowing that, a target without Log takes a series."""
    if net.target.takes("Log"):
        return net.add("Log", name, blob)
    return net.log_from_one(name, blob, most)


def local_response_norm(node, net):
    """TensorFlow takes a radius, and alpha for each of the values; Caffe a size, and their sum.

    Not every consumer heeds Caffe's k, so it is 1 and the rest a factor:
    (k + a)^-b = k^-b (1 + a / k)^-b.
    """
    size, k, beta = 2 * node.attrs["depth_radius"] + 1, node.attrs["bias"], node.attrs["beta"]
    if k <= 0:
        raise Refused(
            f"bias {k}: Caffe's consumers take 1, to which only more than 0 can be scaled"
        )
    param = {"local_size": size, "alpha": node.attrs["alpha"] * size / k, "beta": beta, "k": 1.0}
    name = node.layer if k == 1 else f"{node.layer}/norm"
    blob = net.add("LRN", name, net.make_plain(node), lrn_param=param)
    return blob if k == 1 else net.affine(node.layer, blob, k**-beta)


def resize_nearest(node, net):
    """By whole factors every pixel is repeated: a depthwise Deconvolution of ones."""
    factors = _factors(node, net)
    if factors is None or node.attrs["align_corners"]:
        return _resize(node, net, _nearest)
    blob = net.make_plain(node)
    channels = net.shapes[blob][1]
    ones = np.ones((channels, 1, *factors), np.float32)
    return net.deconvolve(node.layer, blob, ones, stride=factors, group=channels)


def resize_bilinear(node, net):
    """By whole factors, from pixels' centres: a depthwise Deconvolution with a tent.

    It is divided by what it makes of ones, for the borders.
    """
    factors = _factors(node, net)
    if factors is None or not node.attrs["half_pixel_centers"]:
        return _resize(node, net, _bilinear)
    blob = net.make_plain(node)
    channels = net.shapes[blob][1]
    tents = [_tent(factor) for factor in factors]
    kernel = np.multiply.outer(*tents)[None, None].repeat(channels, 0).astype(np.float32)
    pads = [(len(tent) - factor) // 2 for tent, factor in zip(tents, factors, strict=True)]
    ones = net.affine(f"{node.layer}/ones", blob, 0.0, 1.0)
    settings = {"stride": factors, "pad": pads, "group": channels}
    total = net.deconvolve(f"{node.layer}/sum", blob, kernel, **settings)
    count = net.deconvolve(f"{node.layer}/count", ones, kernel, **settings)
    share = net.affine(f"{node.layer}/share", count, power=-1.0)
    return net.eltwise(node.layer, "PROD", total, share)


def _tent(factor):
    """How much of a pixel falls on each of the pixels around its centre, half a pixel off."""
    length = 2 * factor - factor % 2
    return 1 - np.abs(np.arange(length) - (length - 1) / 2) / factor


def _factors(node, net):
    """How many times higher and wider the output is; None unless it is a whole number of times."""
    size, out = _sizes(node, net)
    if any(many % one for many, one in zip(out, size, strict=True)):
        return None
    return [many // one for many, one in zip(out, size, strict=True)]


def _sizes(node, net):
    """Height and width before and after; the image before may still lie transposed."""
    shapes = [net.shape(node), node.shape[1:]]
    return [usual(shape).caffe_shape[1:] for shape in shapes]


def _resize(node, net, weights):
    """To any size: every row, then every column, multiplied by a matrix."""
    (height, width), (high, wide) = _sizes(node, net)
    rows = net.along_width(f"{node.layer}/width", net.make_plain(node), weights(node, width, wide))
    return net.along_width(f"{node.layer}/height", rows, weights(node, height, high))


def _sources(node, size, out):
    """Where each of `out` pixels lies among `size`, in float32, as TensorFlow computes it."""
    at = np.arange(out, dtype=np.float32)
    if node.attrs["align_corners"] and out > 1:
        return at * (np.float32(size - 1) / np.float32(out - 1))
    scale = np.float32(size) / np.float32(out)
    half = np.float32(0.5) if node.attrs["half_pixel_centers"] else np.float32(0)
    if node.op == "ResizeNearestNeighbor":
        return (at + half) * scale
    return (at + half) * scale - half


def _nearest(node, size, out):
    """(out, size): a 1 for the pixel that is taken."""
    sources = _sources(node, size, out)
    taken = np.floor(sources + 0.5) if node.attrs["align_corners"] else np.floor(sources)
    return np.eye(size)[np.clip(taken, 0, size - 1).astype(int)]


def _bilinear(node, size, out):
    """(out, size): how much of each of the two pixels around is taken."""
    sources = _sources(node, size, out)
    lower = np.floor(sources)
    share = (sources - lower)[:, None]
    first = np.eye(size)[np.clip(lower, 0, size - 1).astype(int)]
    second = np.eye(size)[np.clip(np.ceil(sources), 0, size - 1).astype(int)]
    return first * (1 - share) + second * share


def depth_to_space(node, net):
    """Channels to pixels: a Deconvolution whose kernel sends each channel to its pixel."""
    _channels_last(node)
    block, blob = node.attrs["block_size"], net.make_plain(node)
    out = node.shape[3]
    kernel = np.eye(block * block * out, dtype=np.float32).reshape(-1, block, block, out)
    kernel = kernel.transpose(0, 3, 1, 2)
    return net.deconvolve(node.layer, blob, kernel, stride=(block, block))


def space_to_depth(node, net):
    """Pixels to channels: a Convolution whose kernel picks each channel's pixel."""
    _channels_last(node)
    block, blob = node.attrs["block_size"], net.make_plain(node)
    channels = net.shapes[blob][1]
    kernel = np.eye(block * block * channels, dtype=np.float32)
    kernel = kernel.reshape(-1, block, block, channels).transpose(0, 3, 1, 2)
    return net.convolve(node.layer, blob, kernel, stride=(block, block))


def elementwise(node, net):
    """Two operands: blobs of the same shape, or a blob and a constant."""
    sides = {role: node.array(role) for role in ("x", "y") if role in node.weights}
    sides |= {role: node.attrs[role] for role in ("x", "y") if role in node.attrs}
    if any(np.ndim(value) and np.size(value) == 1 for value in sides.values()):
        sides = {role: np.reshape(value, ()).item() for role, value in sides.items()}
    blobs = _operands(node, net, sides)
    if len(blobs) == 2 and node.op not in TWO_BLOBS:
        raise Refused("Caffe has powers of a constant only; of x > 0, build exp(y * log(x))")
    if len(blobs) == 2:
        return TWO_BLOBS[node.op](node.layer, net, *blobs)
    ((role, value),), (blob,) = sides.items(), blobs
    if node.op not in ONE_BLOB:
        raise Refused("tf2caffe does not compute it with a constant; build it of other ops")
    return ONE_BLOB[node.op](node.layer, net, blob, value, role == "x")


def add_many(node, net):
    """Two at a time: not every consumer adds more."""
    if node.weights:
        raise Refused("one of what it adds is a constant; add it with Add")
    first, *rest = _operands(node, net, {})
    for at, blob in enumerate(rest):
        first = net.eltwise(f"{node.layer}/sum{at}", "SUM", first, blob)
    return first


def _operands(node, net, sides):
    """The blobs to combine, as large as the result; constants that are no channels among them."""
    if len(node.shape) > 4:
        return _many_axes(node, net, sides)
    shape = net.layouts[node.name].caffe_shape
    alike = all(net.layouts[name] == net.layouts[node.name] for name in node.inputs)
    blobs = []
    for at, name in enumerate(node.inputs):
        blob = net.blob(node, at) if alike else net.make_plain(node, at)
        axes = len(net.layouts[name].tf)
        if axes == 0 and len(shape) > 1:  # one number, whatever the other has
            blob = net.reshape(f"{node.layer}/number{at}", blob, (1,) * len(shape))
        elif 0 < axes < len(node.shape[1:]):
            ones = (1,) * (len(node.shape[1:]) - axes)
            wanted = usual(ones + net.layouts[name].tf_shape).caffe_shape
            blob = net.view(f"{node.layer}/axes{at}", net.make_plain(node, at), wanted)
        blobs.append(net.broadcast(f"{node.layer}/operand{at}", blob, shape))
    for role, value in list(sides.items()):
        if np.ndim(value) > 1:
            del sides[role]
            blob = net.constant(f"{node.layer}/{role}", np.asarray(value))
            blobs.insert(
                0 if role == "x" else 1, net.broadcast(f"{node.layer}/{role}x", blob, shape)
            )
    return blobs


def _many_axes(node, net, sides):
    """The same, of a tensor of more axes than an image."""
    blobs = [
        products.operand(
            node, net, f"{node.layer}/operand{at}", net.blob(node, at), net.layouts[name], at
        )
        for at, name in enumerate(node.inputs)
    ]
    for role, value in list(sides.items()):
        if np.ndim(value):
            del sides[role]
            name = f"{node.layer}/{role}"
            value = np.asarray(value)
            shape = (*value.shape[1:], value.shape[0]) if value.ndim > 1 else value.shape
            blob = net.constant(name, value)
            blobs.insert(role == "y", products.operand(node, net, f"{name}x", blob, usual(shape)))
    return blobs


def _divide(name, net, x, y):
    inverse = net.affine(f"{name}/inverse", y, power=-1.0)
    return net.eltwise(name, "PROD", x, inverse)


def _least(name, net, x, y):
    x, y = net.affine(f"{name}/minus_x", x, -1.0), net.affine(f"{name}/minus_y", y, -1.0)
    return net.affine(name, net.eltwise(f"{name}/most", "MAX", x, y), -1.0)


def _squared_difference(name, net, x, y):
    difference = net.eltwise(f"{name}/difference", "SUM", x, y, (1, -1))
    return net.affine(name, difference, power=2.0)


def _add_number(name, net, blob, c, first):
    return net.affine(name, blob, beta=c)


def _subtract_number(name, net, blob, c, first):
    return net.affine(name, blob, -1.0, c) if first else net.affine(name, blob, beta=-np.float32(c))


def _multiply_number(name, net, blob, c, first):
    return net.affine(name, blob, c)


def _divide_number(name, net, blob, c, first):
    if first:
        return net.affine(name, net.affine(f"{name}/inverse", blob, power=-1.0), c)
    return net.affine(name, blob, 1 / np.float64(c))


def _most_number(name, net, blob, c, first):
    """max(x, c), with c as a blob: exact, whatever the size of c."""
    if not np.any(c):
        return net.add("ReLU", name, blob)
    floor = net.affine(f"{name}/floor", blob, 0.0 * np.float32(c), c)
    return net.eltwise(name, "MAX", blob, floor)


def _least_number(name, net, blob, c, first):
    """min(x, c) = -max(-x, -c)."""
    minus = net.affine(f"{name}/minus", blob, -1.0)
    most = _most_number(f"{name}/most", net, minus, -np.float32(c), first)
    return net.affine(name, most, -1.0)


def _power_number(name, net, blob, c, first):
    """x^c, or c^x = e^(x log c)."""
    if first:
        if np.any(np.less_equal(c, 0)):
            raise Refused("its base is not above 0, so it has no logarithm; take its size and sign")
        return net.add("Exp", name, net.affine(f"{name}/log", blob, np.log(c)))
    if np.ndim(c):
        raise Refused("a Power layer has one exponent; split the channels, or use exp and log")
    return net.affine(name, blob, power=c)


def _squared_difference_number(name, net, blob, c, first):
    difference = net.affine(f"{name}/difference", blob, beta=-np.float32(c))
    return net.affine(name, difference, power=2.0)


# Op of two operands -> its layers, when both are blobs, and when one is a constant.
TWO_BLOBS = {
    "Add": lambda name, net, x, y: net.eltwise(name, "SUM", x, y),
    "Maximum": lambda name, net, x, y: net.eltwise(name, "MAX", x, y),
    "Minimum": _least,
    "Mul": lambda name, net, x, y: net.eltwise(name, "PROD", x, y),
    "RealDiv": _divide,
    "SquaredDifference": _squared_difference,
    "Sub": lambda name, net, x, y: net.eltwise(name, "SUM", x, y, (1, -1)),
}
TWO_BLOBS |= dict.fromkeys(("AddV2", "BiasAdd"), TWO_BLOBS["Add"])

ONE_BLOB = {
    "Add": _add_number,
    "AddV2": _add_number,
    "BiasAdd": _add_number,
    "Maximum": _most_number,
    "Minimum": _least_number,
    "Mul": _multiply_number,
    "Pow": _power_number,
    "RealDiv": _divide_number,
    "SquaredDifference": _squared_difference_number,
    "Sub": _subtract_number,
}


def layer(type, **params):
    """The mapper of an op that is one Caffe layer without weights."""
    return lambda node, net: net.add(type, node.layer, net.blob(node), **params)


def power(gamma=1.0, beta=0.0, exponent=1.0):
    """The mapper of an op that is (gamma * x + beta) ** exponent."""
    return lambda node, net: net.affine(node.layer, net.blob(node), gamma, beta, exponent)


def leaky_relu(node, net):
    param = {"negative_slope": node.attrs["alpha"]}
    return net.add("ReLU", node.layer, net.blob(node), relu_param=param)


def prelu(node, net):
    """One slope a channel, where x < 0."""
    alike = net.layouts[node.name] == net.layouts[node.inputs[0]]
    blob = net.blob(node) if alike else net.make_plain(node)
    return net.add("PReLU", node.layer, blob, [node.array("alpha")])


def elu(node, net):
    return net.elu(node.layer, net.blob(node), node.attrs.get("alpha", 1.0))


def selu(node, net):
    """scale * elu(x), with TensorFlow's constants (Klambauer et al., 2017)."""
    elu = net.elu(f"{node.layer}/elu", net.blob(node), 1.6732632423543772)
    return net.affine(node.layer, elu, 1.0507009873554805)


def step(node, net):
    """1 where x is larger than a number, else 0."""
    number = node.attrs["threshold"]
    param = {"threshold": number} if number else {}
    return net.add("Threshold", node.layer, net.blob(node), threshold_param=param)


def softsign(node, net):
    """x / (1 + |x|)."""
    size = net.add("AbsVal", f"{node.layer}/size", net.blob(node))
    share = net.affine(f"{node.layer}/share", size, beta=1.0, power=-1.0)
    return net.eltwise(node.layer, "PROD", net.blob(node), share)


def expm1(node, net):
    """2 t e^relu(x) / (1 + |t|) with t = tanh(x / 2): next to 0 nothing is lost."""
    blob, name = net.blob(node), node.layer
    tanh = net.add("TanH", f"{name}/tanh", net.affine(f"{name}/half", blob, 0.5))
    size = net.add("AbsVal", f"{name}/size", tanh)
    share = net.affine(f"{name}/share", size, beta=1.0, power=-1.0)
    fall = net.affine(f"{name}/fall", net.eltwise(f"{name}/odd", "PROD", tanh, share), 2.0)
    rise = net.add("Exp", f"{name}/exp", net.add("ReLU", f"{name}/relu", blob))
    return net.eltwise(name, "PROD", fall, rise)


def erf(node, net):
    """c P(c^2) of c, x cut to where erf is not yet 1; right to 1e-6 of itself."""
    if not net.target.allows("Power", "exponent", -1):
        return _erf_by_series(node, net, node.layer)
    x = _within_4(node.layer, net, net.blob(node))
    square = net.affine(f"{node.layer}/square", x, power=2.0)
    share = net.powers(f"{node.layer}/share", square, ERF)
    return net.eltwise(node.layer, "PROD", x, share)


def _within_4(name, net, blob):
    """Exact, whatever the size of x."""
    least = _least_number(f"{name}/cut", net, blob, 4.0, False)
    return _most_number(f"{name}/within", net, least, -4.0, False)


def erfc(node, net):
    """E(|x|) where x >= 0, 2 - E(|x|) where x < 0, with E(|x|) = e^(-x^2) P(x^2).

    It is right to 2e-6 of itself where x < 5, to 5e-6 up to 9: there x^2 is rounded by as much. A
    steep slope tells the side of 0; next to 0 it is in between, where both sides are 1.
    """
    if not net.target.allows("Power", "exponent", -1):
        return net.affine(node.layer, _erf_by_series(node, net, f"{node.layer}/odd"), -1.0, 1.0)
    name, x = node.layer, net.blob(node)
    square = net.affine(f"{name}/square", x, power=2.0)
    share = net.powers(f"{name}/share", square, ERFC)
    tail = net.eltwise(f"{name}/tail", "PROD", net.decay(f"{name}/decay", square), share)
    below = net.add("ReLU", f"{name}/below", net.affine(f"{name}/minus", x, -STEEP))
    above = net.add("ReLU", f"{name}/above", net.affine(f"{name}/plus", below, -STEEP, 1.0))
    side = net.affine(f"{name}/side", above, -2.0, 2.0)
    rise = net.affine(f"{name}/rise", tail, -1.0, 1.0)
    rest = net.eltwise(f"{name}/rest", "PROD", side, rise)
    return net.eltwise(name, "SUM", tail, rest)


def _erf_by_series(node, net, name):
    """tanh(c P(c^2)) of c, x cut to where erf is not yet 1, for targets that cannot divide.

    It is right to 1e-7 of itself, 1 less it of 1 only.
    """
    x = _within_4(name, net, net.blob(node))
    square = net.affine(f"{name}/square", x, power=2.0)
    *rest, second, first = SERIES
    series = net.affine(f"{name}/p{len(rest)}", square, first, second)
    for at, number in reversed(list(enumerate(rest))):
        product = net.eltwise(f"{name}/square{at + 1}", "PROD", series, square)
        series = net.affine(f"{name}/p{at}", product, beta=number)
    return net.add("TanH", name, net.eltwise(f"{name}/series", "PROD", series, x))


# atanh(erf(x)) / x = SERIES[0] + SERIES[1] x^2 + SERIES[2] x^4 ... where |x| <= 4.
SERIES = (
    1.1283792743, 1.0276905484e-01, -1.9182654244e-04, -6.1979029338e-04, 8.7640269070e-05,
    -5.6691113946e-06, 1.4189929874e-07,
)  # fmt: skip
# Chains of powers (see `Builder.powers`), least-squares fits that even out the relative error.
# erf(x) / x of x^2, where |x| <= 4, to 5e-8:
ERF = (
    (0.333939571, 1.87269529, 4.87917671),
    (0.103601337, 4.24739583, 0.368244121),
    (1.008941, -1.71094969, -1.99376787),
    (1.79091117, 0.179525313, 1.1396555),
    (0.0229795583, -0.00324677514, 0.171420052),
    (1.09616708, 0.0670459813, 1.22471444),
)  # fmt: skip
# e^(x^2) erfc(x) of x^2, where 0 <= x <= 9.3, to 6e-7:
ERFC = (
    (1, 0, 0.5),
    (1.06841896, 3.03494239, 4.36274369),
    (1.71959014, 31.5892604, 0.935301707),
    (1.98105288, 147.868925, 0.229121006),
    (1.27447604, -4.27895441, -1.06095296),
)  # fmt: skip

# TensorFlow op -> its Caffe layers.
OPS = {
    **dict.fromkeys(ONE_BLOB, elementwise),
    "Abs": layer("AbsVal"),
    "AddN": add_many,
    "Along": products.along,
    "ArgMax": argmax,
    "AvgPool": average_pool,
    "ConcatV2": concat,
    "Conv2D": convolution,
    "Conv2DBackpropInput": transposed_convolution,
    "DepthToSpace": depth_to_space,
    "DepthwiseConv2dNative": convolution,
    "Elu": elu,
    "Erf": erf,
    "Erfc": erfc,
    "Exp": layer("Exp"),
    "Einsum": products.einsum,
    "ExtractImagePatches": patches,
    "ExpandDims": reshape,
    "Expm1": expm1,
    "FusedBatchNormV3": batch_norm,
    "LRN": local_response_norm,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Log": layer("Log"),
    "MatMul": dense,
    "Max": reduction,
    "MaxPool": max_pool,
    "Mean": reduction,
    "Min": reduction,
    "Neg": power(-1.0),
    "PRelu": prelu,
    "Pad": pad,
    "Reciprocal": power(exponent=-1.0),
    "Relu": layer("ReLU"),
    "Relu6": layer("ReLU6"),  # BVLC Caffe does not have it, some chips do
    "Reshape": reshape,
    "ResizeBilinear": resize_bilinear,
    "ResizeNearestNeighbor": resize_nearest,
    "Rsqrt": power(exponent=-0.5),
    "Selu": selu,
    "Sigmoid": layer("Sigmoid"),
    "Softmax": softmax,
    "Softplus": layer("BNLL"),
    "Softsign": softsign,
    "SpaceToDepth": space_to_depth,
    "Sqrt": power(exponent=0.5),
    "Square": power(exponent=2.0),
    "Squeeze": reshape,
    "Step": step,
    "StridedSlice": strided_slice,
    "Sum": reduction,
    "Tanh": layer("TanH"),
    "Transpose": transpose,
}
