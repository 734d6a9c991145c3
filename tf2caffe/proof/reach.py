"""Which numbers of a caffemodel take part when each layer is run alone.

A number takes part where it is multiplied with something: a number of a kernel where its channel
is not 0 under it at some place of the output (what meets padding alone is multiplied with nothing),
a number a channel where that channel is not 0. What is only added takes part anyway.
"""

from dataclasses import dataclass, field

import numpy as np

from tf2caffe.caffe.shapes import SHAPES, WEIGHTS, convolution_settings


@dataclass
class Reach:
    """How many numbers there are, how many were `reached`, and {layer: how many were missed}."""

    total: int = 0
    reached: int = 0
    missed: dict = field(default_factory=dict)

    @classmethod
    def of(cls, layers, blobs):
        """The reach of layers, given as messages, on the blobs that were fed and made, by name."""
        reach = cls()
        for message in layers:
            if message.type in RULES and message.bottom:
                bottoms = [blobs[name] for name in message.bottom if name in blobs]
                reach._add(message, bottoms)
        return reach

    def _add(self, message, bottoms):
        shapes = WEIGHTS[message.type](message, [bottom.shape for bottom in bottoms])
        if not shapes:
            return
        total = sum(int(np.prod(shape)) for shape in shapes)
        missed = RULES[message.type](message, bottoms[0], shapes)
        self.total, self.reached = self.total + total, self.reached + total - missed
        if missed:
            self.missed[message.name] = missed

    def __str__(self):
        if not self.missed:
            return f"the probes reached all {self.total:,} numbers of the caffemodel"
        layers = ", ".join(f"{name} {count:,}" for name, count in self.missed.items())
        return (
            f"the probes reached {self.reached:,} of the {self.total:,} numbers of the caffemodel; "
            f"not reached: {layers}"
        )


def first_bottoms(layers):
    """The blobs that layers with weights read."""
    return {name for layer in layers if layer.type in RULES for name in layer.bottom}


def _convolution(message, bottom, shapes):
    """Numbers (O, I / group, H, W) that meet nothing but zeros and padding."""
    kernel, stride, pad, dilation = convolution_settings(message)
    out = SHAPES[message.type](message, [bottom.shape])[0][2:]
    alive = np.pad((bottom != 0).any(0), [(0, 0), *((p, p) for p in pad)])
    met = _met(alive, out, kernel, stride, dilation)
    return int((~met).sum()) * (shapes[0][0] // message.convolution_param.group)


def _deconvolution(message, bottom, shapes):
    """Numbers (I, O / group, H, W) that meet nothing but zeros, or lie beyond the output."""
    kernel, stride, pad, dilation = convolution_settings(message)
    out = SHAPES[message.type](message, [bottom.shape])[0][2:]
    alive, met = (bottom != 0).any(0), []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            kept = [
                _inside(size, s, p, d * at, length)
                for size, s, p, d, at, length in zip(
                    alive.shape[1:], stride, pad, dilation, (row, column), out, strict=True
                )
            ]
            met.append(alive[:, kept[0]][:, :, kept[1]].any((1, 2)))
    return int((~np.array(met)).sum()) * shapes[0][1]


def _inside(size, stride, pad, shift, length):
    """Which places of the input reach the output through the kernel's number at `shift`."""
    places = np.arange(size) * stride + shift - pad
    return (places >= 0) & (places < length)


def _met(alive, out, kernel, stride, dilation):
    """Whether each channel (C, H, W) is alive under each number of the kernel: (taps, C)."""
    met = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            first = row * dilation[0], column * dilation[1]
            rows, columns = (
                slice(at, at + (length - 1) * step + 1, step)
                for at, length, step in zip(first, out, stride, strict=True)
            )
            met.append(alive[:, rows, columns].any((1, 2)))
    return np.array(met)


def _inner_product(message, bottom, shapes):
    axis = message.inner_product_param.axis
    columns = bottom.reshape(int(np.prod(bottom.shape[:axis])), -1)
    return int((columns == 0).all(0).sum()) * message.inner_product_param.num_output


def _factor(message, bottom, shapes):
    """One factor a channel (or for the axes that the weights have)."""
    axis = message.scale_param.axis % bottom.ndim if message.type == "Scale" else 1
    rest = tuple(at for at in range(bottom.ndim) if not axis <= at < axis + len(shapes[0]))
    return int((bottom == 0).all(rest).sum())


def _slope(message, bottom, shapes):
    """A PReLU's slopes take part below 0."""
    rest = tuple(at for at in range(bottom.ndim) if not shapes[0] or at != 1)
    return int((bottom >= 0).all(rest).sum())


# Layer type -> how many of its numbers were missed, given its message, its bottom and the shapes
# of its weights.
RULES = {
    "BatchNorm": lambda message, bottom, shapes: 2 * _factor(message, bottom, shapes),
    "Bias": lambda message, bottom, shapes: 0,
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "InnerProduct": _inner_product,
    "PReLU": _slope,
    "Scale": _factor,
}
