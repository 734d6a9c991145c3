"""Layers by what they compute, each written so that every consumer of Caffe reads it alike."""

from math import ceil, gcd, log2, prod

import numpy as np

from tf2caffe.caffe import cost, orders
from tf2caffe.caffe.net import Net
from tf2caffe.caffe.shapes import sized

MANY = 2 * orders.LAYER  # weights of one layer, in whose place two Reshapes are better
KERNEL, IMAGE = 255, 4096  # the longest side of a Deconvolution's kernel and image in Huawei's CANN


class Refused(Exception):
    """What cannot be taken to Caffe: why, and what the user can do."""


class Builder(Net):
    """A network that grows layer by layer; each method returns the blob that it made.

    `bounded` tells whether a kernel of ones and zeros that is too large is refused before it is
    made: it might not fit into memory. (`cost.check` looks at all that is made.)
    """

    bounded = False

    def picking(self, count, length):
        """The identity of `length`, of which `count` rows will be taken. Raises `Refused`."""
        if self.bounded and count * length > cost.PARAMETERS:
            kernel = f"a kernel of {count:,} x {length:,} ones and zeros moves the numbers"
            bound = f"more than the bound of {cost.PARAMETERS:,}"
            raise Refused(f"{kernel}, {bound}; {cost.ADVICE}")
        return np.eye(length, dtype=np.float32)

    def reshape(self, name, blob, shape):
        """The same elements under other axes; `shape` is without the batch."""
        if len(shape) == 1:
            return self.add("Flatten", name, blob)
        dims = [0, *shape]  # 0: the batch, whatever it is
        return self.add("Reshape", name, blob, reshape_param={"shape": {"dim": dims}})

    def affine(self, name, blob, gamma=1.0, beta=0.0, power=1.0):
        """(gamma * x + beta) ** power, each a number or one number a channel."""
        if np.ndim(gamma) == np.ndim(beta) == 0:
            param = {"scale": float(gamma), "shift": float(beta), "power": float(power)}
            default = {"scale": 1.0, "shift": 0.0, "power": 1.0}
            param = {key: value for key, value in param.items() if value != default[key]}
            return self.add("Power", name, blob, power_param=param)
        channels = self.shapes[blob][1]
        blobs = [np.broadcast_to(np.float32(gamma), channels)]
        if np.any(beta):
            blobs.append(np.broadcast_to(np.float32(beta), channels))
        return self.add("Scale", name, blob, blobs, scale_param={"bias_term": len(blobs) > 1})

    def eltwise(self, name, operation, first, second, coefficients=()):
        """Of coefficients other than (1, 1), RKNN reads (1, -1) alone."""
        param = {"operation": operation, "coeff": coefficients}
        return self.add("Eltwise", name, [first, second], eltwise_param=param)

    def convolve(self, name, blob, kernel, bias=None, stride=(1, 1), pad=(0, 0), dilation=(1, 1)):
        """A Convolution; the number of groups follows from the kernel (O, I / group, H, W)."""
        sizes = {"num_output": kernel.shape[0], "group": self.shapes[blob][1] // kernel.shape[1]}
        settings = {"stride": stride, "pad": pad, "dilation": dilation}
        return self._slide("Convolution", name, blob, kernel, bias, **sizes, **settings)

    def deconvolve(self, name, blob, kernel, bias=None, stride=(1, 1), pad=(0, 0), group=1):
        """A Deconvolution with a kernel (I, O / group, H, W)."""
        sizes = {"num_output": kernel.shape[1] * group, "group": group}
        settings = {"stride": stride, "pad": pad, "dilation": (1, 1)}
        return self._slide("Deconvolution", name, blob, kernel, bias, **sizes, **settings)

    def _slide(self, type, name, blob, kernel, bias, num_output, group, stride, pad, dilation):
        """A layer whose kernel slides over the image; what is Caffe's default is left out."""
        param = {
            "num_output": num_output,
            **sized("kernel_size", kernel.shape[2:], many=True),
            # RKNN takes 0 for the stride of a Deconvolution that gives none
            **sized("stride", stride, 1 if type == "Convolution" else None, many=True),
            **sized("pad", pad, 0, many=True),
            **sized("dilation", dilation, 1, many=True),
            "group": group if group > 1 else None,
        }
        return self._weighted(type, name, blob, kernel, bias, "convolution_param", param)

    def multiply(self, name, blob, kernel, bias=None):
        """An InnerProduct with a kernel (out, in)."""
        param = {"num_output": kernel.shape[0]}
        return self._weighted(
            "InnerProduct", name, blob, kernel, bias, "inner_product_param", param
        )

    def _weighted(self, type, name, blob, kernel, bias, field, param):
        if bias is None:
            return self.add(type, name, blob, [kernel], **{field: param | {"bias_term": False}})
        return self.add(type, name, blob, [kernel, bias], **{field: param})

    def pool(self, name, kind, blob, kernel, stride=(1, 1), pad=(0, 0)):
        """A Pooling, `kind` MAX or AVE; Caffe rounds the number of windows up."""
        sizes = sized("kernel_size", kernel) | sized("stride", stride, 1) | sized("pad", pad, 0)
        return self.add("Pooling", name, blob, pooling_param={"pool": kind, **sizes})

    def window(self, name, kind, blob, kernel):
        """One window over the whole of the axes that `kernel` covers."""
        if tuple(kernel) != self.shapes[blob][2:]:
            return self.pool(name, kind, blob, kernel)
        param = {"pool": kind, "global_pooling": True}
        return self.add("Pooling", name, blob, pooling_param=param)

    def elu(self, name, blob, alpha):
        """x where x > 0, else alpha (e^x - 1); what is Caffe's default is left out."""
        return self.add("ELU", name, blob, elu_param={} if alpha == 1 else {"alpha": alpha})

    def halves(self, name, blob):
        """relu(x) and relu(-x): how far x is above zero, and how far below."""
        above = self.add("ReLU", f"{name}/above", blob)
        return above, self.add("ReLU", f"{name}/below", self.affine(f"{name}/minus", blob, -1.0))

    def powers(self, name, blob, steps):
        """A chain of Powers, each given as (factor, shift, exponent)."""
        *rest, last = steps
        for at, step in enumerate(rest):
            blob = self.affine(f"{name}{at}", blob, *step)
        return self.affine(name, blob, *last)

    def decay(self, name, blob):
        """e^-b of b >= 0, right to 3e-7 of itself; not every consumer has Exp.

        The softmax of (b, 0) is (1 - s, s), and e^-b = s / (1 - s). (The Sigmoid of Caffe and
        OpenCV is right to 1e-7 of 1 only.)
        """
        _, less = self._softmax_with_0(name, blob)
        rest = self.affine(f"{name}/rest", less, -1.0, 1.0, -1.0)
        odds = self.eltwise(f"{name}/odds", "PROD", less, rest)
        return self.reshape(name, odds, self.shapes[blob][1:])

    def exp(self, name, blob):
        """e^x, right to 3e-7 of itself, as the ratio of the softmax of (x, 0)."""
        both, less = self._softmax_with_0(name, blob)
        more = self.convolve(f"{name}/more", both, np.float32([1, 0]).reshape(1, 2, 1, 1))
        inverse = self.affine(f"{name}/inverse", less, power=-1.0)
        ratio = self.eltwise(f"{name}/ratio", "PROD", more, inverse)
        return self.reshape(name, ratio, self.shapes[blob][1:])

    def _softmax_with_0(self, name, blob):
        """The softmax of each number and 0, as two channels, and the 0's part alone.

        A kernel makes the two channels: OpenVINO is wrong where two such lie beside each other and
        a Concat made them.
        """
        channels, *size = self.shapes[blob][1:]
        rows = self.reshape(f"{name}/rows", blob, (1, channels, prod(size)))
        kernel = np.float32([1, 0]).reshape(2, 1, 1, 1)
        both = self.add("Softmax", f"{name}/softmax", self.convolve(f"{name}/pair", rows, kernel))
        pick = np.float32([0, 1]).reshape(1, 2, 1, 1)
        return both, self.convolve(f"{name}/less", both, pick)

    def log_from_one(self, name, blob, most):
        """log(x) of 1 <= x <= `most`, because not every consumer has Log.

        log(x) = 2 r artanh(s) with s = (z - 1) / (z + 1) and z, the r-th root of x, at most 2: so
        s is at most 1/3, and eight terms of s + s^3 / 3 + s^5 / 5 ... leave less than 1e-9.
        """
        root = max(1, ceil(log2(most)))
        z = self.affine(f"{name}/root", blob, power=1 / root) if root > 1 else blob
        share = self.affine(f"{name}/share", z, beta=1.0, power=-1.0)
        s = self.affine(f"{name}/s", share, -2.0, 1.0)  # (z - 1) / (z + 1) = 1 - 2 / (z + 1)
        square = self.affine(f"{name}/square", s, power=2.0)
        series = self.affine(f"{name}/term7", square, 1 / 15, 1 / 13)
        for at in range(5, -1, -1):
            product = self.eltwise(f"{name}/product{at + 1}", "PROD", series, square)
            series = self.affine(f"{name}/term{at + 1}", product, beta=1 / (2 * at + 1))
        odd = self.eltwise(f"{name}/odd", "PROD", series, s)
        return self.affine(name, odd, 2.0 * root)

    def place(self, name, blob, before, after, stride=(1, 1)):
        """Zeros added to (or, if negative, rows and columns cut from) each side of h and w.

        A depthwise convolution with a single 1 in the kernel: every consumer takes it.
        """
        channels, kernel, pads = self.shapes[blob][1], [], []
        for first, last in zip(before, after, strict=True):
            pad = max(first, last, 0)
            pads.append(pad)
            kernel.append((pad - first, pad - last))  # zeros of the kernel before and after its 1
        delta = np.zeros((channels, 1, *(left + right + 1 for left, right in kernel)), np.float32)
        delta[:, :, kernel[0][0], kernel[1][0]] = 1
        return self.convolve(name, blob, delta, stride=stride, pad=pads)

    def permute(self, name, blob, sizes, order):
        """The elements of a blob, which runs through blocks of these sizes, in another order.

        `order` tells which of the blocks comes first, second, ...; the axes are whatever they are
        then.
        """
        swaps = orders.plan(sizes, order)
        for at, swap in enumerate(swaps):
            blob = self.swap(name if at == 0 else f"{name}{at + 1}", blob, *swap)
        return blob

    def swap(self, name, blob, groups, first, second, rest):
        """Blocks (groups, first, second, rest) as (groups, second, first, rest): see `orders`."""
        if min(orders.ways(groups, first, second))[1] == "Convolution":
            return self._rows_to_channels(name, blob, groups, first, second, rest)
        return self._channels_to_rows(name, blob, groups, first, second, rest)

    def _channels_to_rows(self, name, blob, groups, first, second, rest):
        """Without a rest, the channels of `first` become rows or columns, as the image lies."""
        kernel = self.picking(groups * first, groups * first).reshape(-1, groups, first, 1)
        stride = (first, 1)
        if rest == 1 and self.shapes[blob][1:] == (groups * first, 1, second):
            kernel, stride = kernel.transpose(0, 1, 3, 2), stride[::-1]
        else:
            blob = self.view(f"{name}/view", blob, (groups * first, second, rest))
        return self.deconvolve(name, blob, kernel, stride=stride)

    def _rows_to_channels(self, name, blob, groups, first, second, rest):
        """Without a rest, the kernel covers a row of the image (groups, first, second)."""
        kernel = np.tile(self.picking(groups * second, second)[:, None], (groups, 1, 1))
        if rest == 1:
            blob = self.view(f"{name}/view", blob, (groups, first, second))
            return self.convolve(name, blob, kernel[:, :, None])
        blob = self.view(f"{name}/view", blob, (groups, first * second, rest))
        return self.convolve(name, blob, kernel[..., None], stride=(second, 1))

    def view(self, name, blob, shape):
        """The blob under these axes (without the batch)."""
        return blob if self.shapes[blob][1:] == tuple(shape) else self.reshape(name, blob, shape)

    def along_width(self, name, blob, matrix):
        """Every row of pixels multiplied by `matrix` (M, W); then height and width change places.

        (N, C, H, W) -> (N, C, M, H): a Convolution with a kernel as wide as the image makes each
        of the M numbers a channel, and a Reshape makes the channels rows.
        """
        _, channels, height, width = self.shapes[blob]
        kernel = np.tile(matrix.astype(np.float32)[:, None, None], (channels, 1, 1, 1))
        wide = self.convolve(f"{name}/wide", blob, kernel)
        return self.reshape(name, wide, (channels, len(matrix), height))

    def broadcast(self, name, blob, shape):
        """The blob broadcast to `shape` (Caffe's axes after the batch)."""
        have = self.shapes[blob][1:]
        if have == tuple(shape):
            return blob
        if len(have) == len(shape) == 1:
            return self.multiply(name, blob, np.ones((shape[0], 1), np.float32))
        if len(have) != len(shape) or len(have) > 3:
            raise Refused(f"tf2caffe does not broadcast {have} to {tuple(shape)}; reshape it first")
        if have[1:] != tuple(shape[1:]):
            part = name if have[0] == shape[0] else f"{name}/size"
            blob = self._widen(part, blob, shape[1:])
        if have[0] != shape[0]:
            # a bias, though of zeros: after a sum of channels RKNN takes ones for something else
            zeros = np.zeros(shape[0], np.float32)
            blob = self.convolve(name, blob, np.ones((shape[0], 1, 1, 1), np.float32), zeros)
        return blob

    def _widen(self, name, blob, size):
        """The image broadcast to this height and width.

        A kernel of ones for each channel, or if these are many weights: one kernel for all, which
        are the rows of one image, where that is no larger than a chip takes; else the rows first.
        """
        channels, *had = self.shapes[blob][1:]
        times = [want // one for want, one in zip(size, had, strict=True)]
        if channels * prod(times) > MANY and had[1] == 1:
            long = prod(times)
            if long <= KERNEL and channels * had[0] <= IMAGE:
                blob = self.view(f"{name}/column", blob, (1, channels * had[0], 1))
                ones = np.ones((1, 1, 1, long), np.float32)
                blob = self.deconvolve(f"{name}/repeated", blob, ones, stride=(1, long))
                return self.view(name, blob, (channels, *size))
            if min(times) > 1:
                blob, times[0] = self._widen(f"{name}/rows", blob, (size[0], 1)), 1
        ones = np.ones((channels, 1, *times), np.float32)
        return self.deconvolve(name, blob, ones, group=channels)

    def pick(self, name, blob, channels):
        """Some of an image's channels, given by their numbers: a 1x1 Convolution.

        Of channels that lie side by side, groups are picked: (C, H, W) -> (C / g, g H, W), whose
        kernel is smaller by the square of g.
        """
        total, *size = self.shapes[blob][1:]
        group = gcd(total, len(channels), channels[0]) if _is_stretch(channels) else 1
        if group > 1 and total * len(channels) > MANY:
            blob = self.view(f"{name}/groups", blob, (total // group, group * size[0], *size[1:]))
            kernel = np.eye(total // group, dtype=np.float32)[channels[::group] // group]
            blob = self.convolve(f"{name}/taken", blob, kernel[:, :, None, None])
            return self.view(name, blob, (len(channels), *size))
        kernel = self.picking(len(channels), total)[channels]
        return self.convolve(name, blob, kernel[:, :, None, None])


def _is_stretch(channels):
    return channels.tolist() == list(range(channels[0], channels[0] + len(channels)))


def mistaken(kernel, size, pads, dilation):
    """Whether OpenCV 4.14 is wrong on this depthwise kernel, for an image of `size` (h, w).

    It is on one of 3x3 that is padded where the image has one row or column, or padded by less
    than its dilation. (Measured: kernels of 1 to 3, images of 1 to 9, dilations and pads to 3.)
    """
    settings = [(n, max(pair), d) for n, pair, d in zip(size, pads, dilation, strict=True)]
    return kernel.shape[1:] == (1, 3, 3) and any(
        0 < pad < d or (pad > 0 and n == d == 1) for n, pad, d in settings
    )


def dilated(kernel, dilation):
    """A kernel (O, I, H, W) with the zeros between its rows and columns that dilation means."""
    height, width = (
        (size - 1) * step + 1 for size, step in zip(kernel.shape[2:], dilation, strict=True)
    )
    spread = np.zeros((*kernel.shape[:2], height, width), np.float32)
    spread[:, :, :: dilation[0], :: dilation[1]] = kernel
    return spread


def embedded(kernel, pads):
    """A kernel (O, I, H, W) with zero rows and columns, so that Caffe may pad both sides alike."""
    uneven = [(max(after - before, 0), max(before - after, 0)) for before, after in pads]
    return np.pad(kernel, [(0, 0), (0, 0), *uneven]) if any(map(any, uneven)) else kernel
