"""Layout rules: how an op's output lies in its Caffe blob, given how its inputs do.

Each takes a node and its inputs' layouts, and returns the output's. It raises `ValueError` where a
layout cannot be carried through the op.
"""

from tf2caffe.graph import contraction
from tf2caffe.graph.layout import Layout, joined, plain, reduced_axes, regrouped, usual


def in_usual_order(node, layouts):
    """An output in the usual layout, made from inputs that are brought into it."""
    return usual(node.shape[1:])


def elementwise(node, layouts):
    """The operands' common layout; where one is broadcast, or they differ, the usual one.

    An array among them is stored as the usual one asks for, unless it is a vector. Tensors of many
    axes stay as the largest of them lies.
    """
    if len(node.shape) > 4:
        return contraction.widest(node, layouts)
    alike = all(layout.tf_shape == node.shape[1:] for layout in layouts)
    alike = alike and all(layout == layouts[0] for layout in layouts)
    arrays = {"x", "y"} & node.weights.keys() and len(node.shape) != 2
    if alike and (not arrays or layouts[0].is_usual()):
        return layouts[0]
    return in_usual_order(node, layouts)


def dense(node, layouts):
    """A dense layer takes a flat tensor in any order: the rows of its kernel are permuted."""
    return usual(node.shape[1:]) if len(layouts[0].tf) == 1 else in_usual_order(node, layouts)


def norm(node, layouts):
    """A vector in any order; an image as it lies, as long as its channels are Caffe's."""
    layout = layouts[0]
    kept = len(layout.tf) < 2 or layout.caffe[0] == layout.tf[-1]
    return layout if kept else in_usual_order(node, layouts)


def reshape(node, layouts):
    return regrouped(layouts[0], node.shape[1:])[0]


def concat(node, layouts):
    """Vectors may be joined in any order; images in the usual one, others in TensorFlow's."""
    if len(node.shape) > 4:
        return plain(node.shape[1:]).settled()
    if len(node.shape) != 2 or node.weights or all(layout.is_usual() for layout in layouts):
        return in_usual_order(node, layouts)
    return joined([part for layout in layouts for part in layout.parts or (layout,)])


def transpose(node, layouts):
    """Of a lifted tensor all axes move, and one of one element in front."""
    perm, layout = node.attrs["perm"], layouts[0]
    if perm == sorted(perm) and len(perm) == len(node.shape) == len(layout.tf) + 1:
        return layout
    axes = [(), *layout.tf] if len(perm) == len(layout.tf) + 2 else list(layout.tf)
    moved = [axes[axis - 1] for axis in perm[1:]]
    layout = Layout(layout.sizes, tuple(moved), layout.caffe, layout.index, layout.parts)
    if len(moved) == len(node.shape):  # the batch again, of one element
        layout = _without(layout, moved[0])
        layout = Layout(layout.sizes, layout.tf[1:], layout.caffe, layout.index, layout.parts)
    return layout if layout.index is not None else layout.settled()


def _without(layout, axis):
    """The layout without an axis of one element, whose atoms go."""
    if not axis:
        return layout
    place = {atom: at for at, atom in enumerate(a for a in layout.tf_order if a not in axis)}

    def renamed(axes):
        return tuple(tuple(place[atom] for atom in one if atom in place) for one in axes)

    sizes = tuple(layout.sizes[atom] for atom in place)
    return Layout(sizes, renamed(layout.tf), renamed(layout.caffe), layout.index, layout.parts)


def along(node, layouts):
    return regrouped(contraction.along(node, layouts[0])[2], node.shape[1:])[0]


def einsum(node, layouts):
    plan = contraction.plan(node.attrs["equation"], layouts)
    letters = contraction.parse(node.attrs["equation"])[1][1:]
    return contraction.laid_out(letters, node.shape[1:], plan.result)


def patches(node, layouts):
    """Caffe has each channel's window together, TensorFlow the channels of each place."""
    _, height, width, out = node.shape
    count = node.attrs["ksizes"][1] * node.attrs["ksizes"][2]
    return Layout((height, width, count, out // count), ((0,), (1,), (2, 3)), ((3, 2), (0,), (1,)))


def reduction(node, layouts):
    """Reduced axes stay as axes of one element; without keep_dims they are then dropped."""
    if len(layouts[0].tf) > 3:
        axes = [axis for axis in reduced_axes(node, len(layouts[0].tf) + 1) if axis]
        return regrouped(contraction.reduced(node, layouts[0], axes)[2], node.shape[1:])[0]
    return usual(_kept(node, layouts[0])).reshaped(node.shape[1:])


def _kept(node, layout):
    axes = reduced_axes(node, len(layout.tf) + 1)
    return tuple(1 if at + 1 in axes else size for at, size in enumerate(layout.tf_shape))


def strided_slice(node, layouts):
    """The slice with all its axes, those given by one index then dropped."""
    return usual(node.attrs["sizes"][1:]).reshaped(node.shape[1:])


def softmax(node, layouts):
    """As it lies, if TensorFlow's last axis is one of Caffe's, or is by a reshape."""
    layout = layouts[0]
    if len(layout.tf) < 2 or any(set(layout.tf[-1]) == set(axis) for axis in layout.caffe):
        return layout
    if layout.span(-1) is None:
        return in_usual_order(node, layouts)
    order, (start, stop) = layout.order, layout.span(-1)
    axes = tuple(order[:start]), tuple(order[start:stop]), tuple(order[stop:])
    return Layout(layout.sizes, layout.tf, axes)


def log_softmax(node, layouts):
    """A whole vector in any order."""
    return layouts[0] if len(layouts[0].tf) < 2 else in_usual_order(node, layouts)


# Rules by which a vector may lie in any order.
KEEPING = (elementwise, log_softmax, norm, softmax)
