"""Layout rules: how an op's output lies in its Caffe blob, given how its inputs do.

Each takes a node and its inputs' layouts, and returns the output's. It raises `ValueError` where a
layout cannot be carried through the op.
"""

from tf2caffe.graph.layout import Layout, joined, reduced_axes, regrouped, usual


def in_usual_order(node, layouts):
    """An output in the usual layout, made from inputs that are brought into it."""
    return usual(node.shape[1:])


def elementwise(node, layouts):
    """The operands' common layout; where one is broadcast, or they differ, the usual one.

    An array among them is stored as the usual one asks for, unless it is a vector.
    """
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
    """Vectors may be joined in any order; images only in the usual one."""
    if len(node.shape) != 2 or all(layout.is_usual() for layout in layouts):
        return in_usual_order(node, layouts)
    return joined([part for layout in layouts for part in layout.parts or (layout,)])


def transpose(node, layouts):
    perm, layout = node.attrs["perm"], layouts[0]
    if perm[0] != 0:
        raise ValueError("it moves the batch axis; keep axis 0 where it is")
    if perm == sorted(perm):
        return layout
    return Layout(
        layout.sizes, tuple(layout.tf[axis - 1] for axis in perm[1:]), layout.caffe
    ).settled()


def reduction(node, layouts):
    """Reduced axes stay as axes of one element; without keep_dims they are then dropped."""
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
