"""Fourier transforms of a fixed length, as products with matrices of cosines and sines.

A complex tensor is two real ones. What ends in real numbers is rewritten: `Real`, `Imag`,
`ComplexAbs`, `IRFFT`, `IRFFT2D` of `RFFT`, `RFFT2D`, `FFT`, `IFFT`, `Complex`, and of sums and
products of these with complex constants.

    RFFT(x) -> Along(x, cosines), Along(x, -sines)
"""

import numpy as np
import tensorflow as tf

from tf2caffe.frontend import products
from tf2caffe.frontend.copies import operands_of, rewrite_all
from tf2caffe.frontend.draft import Constant, Op, constants


def settle_all(ops, trace):
    """A Fourier transform is a product with cosines and one with sines, a pair of real tensors."""
    if not any(op.tensor.dtype == tf.complex64 for op in ops):
        return ops
    spectra = Spectra(trace)
    return rewrite_all(ops, trace, spectra.settle, spectra.made)


class Spectra:
    """The ops as they are rewritten, in order: `made`. `pairs` are the parts of complex tensors."""

    def __init__(self, trace):
        self.trace, self.constant = trace, constants(trace)
        self.made, self.pairs = [], {}

    def settle(self, op):
        rule = (COMPLEX if op.tensor.dtype == tf.complex64 else REAL).get(op.type)
        if rule is None or op.computed:
            return
        parts = [self.parts(one) for one in operands_of(op)]
        if None in parts:
            return
        found = rule(self, op, *parts)
        if op.tensor.dtype == tf.complex64:
            self.pairs[id(op)] = found
        else:
            shape = list(found.shape)
            again = tf.reshape(found.tensor, shape)
            op.replace(Op("Reshape", again, [found], {}, {"shape": shape}))

    def parts(self, one):
        """(real, imaginary) of an operand; the real tensor itself, of one that is; or None."""
        if one.tensor.dtype != tf.complex64:
            return (one,)
        if isinstance(one, Constant):
            return tuple(
                Constant(part(one.tensor), self.trace) for part in (tf.math.real, tf.math.imag)
            )
        return self.pairs.get(id(one))

    def add(self, kind, x, y):
        """An op of two real operands, each an op or a constant."""
        tensor = getattr(tf.raw_ops, kind)(x=x.tensor, y=y.tensor)
        if isinstance(x, Constant) and isinstance(y, Constant):
            return Constant(tensor, self.trace)
        sides = {"x": x, "y": y}
        inputs = [side for side in sides.values() if isinstance(side, Op)]
        fixed = {role: side for role, side in sides.items() if isinstance(side, Constant)}
        self.made.append(Op(kind, tensor, inputs, fixed))
        return self.made[-1]

    def nothing(self, op):
        """Zeros as many as a tensor has."""
        return self.add("Mul", op, self.constant(np.float32(0)))

    def along(self, op, axis, matrix):
        """An axis, counted from the end, multiplied by a matrix (out, in)."""
        chain = products.Chain(op, Op)
        chain.along(len(op.shape) + axis, matrix, self.constant)
        self.made += chain.made
        return chain.last

    def turned(self, pair, axis, length, inverse=False):
        """The transform of complex numbers along an axis."""
        size = pair[0].shape[axis]
        cosines, sines = _waves(length, length, size)
        share, sign = (1 / length, -1) if inverse else (1, 1)
        both = [[self.along(part, axis, wave * share) for wave in (cosines, sines * sign)]
                for part in pair]  # fmt: skip
        (re_cos, re_sin), (im_cos, im_sin) = both
        return self.add("AddV2", re_cos, im_sin), self.add("Sub", im_cos, re_sin)


def _waves(length, out, size):
    """Cosines and sines (out, size) of a transform of this length; what is beyond it is left."""
    turns = np.outer(np.arange(out), np.arange(size)) * (2 * np.pi / length)
    inside = np.arange(size) < length
    return np.cos(turns) * inside, np.sin(turns) * inside


def _lengths(op):
    return [int(number) for number in np.atleast_1d(op.attrs["fft_length"])]


def _rfft(spectra, op, x):
    length = _lengths(op)[-1]
    cosines, sines = _waves(length, length // 2 + 1, x[0].shape[-1])
    return spectra.along(x[0], -1, cosines), spectra.along(x[0], -1, -sines)


def _rfft2d(spectra, op, x):
    return spectra.turned(_rfft(spectra, op, x), -2, _lengths(op)[0])


def _irfft(spectra, op, pair):
    """Each frequency but the first, and the last of an even length, stands for two."""
    length = _lengths(op)[-1]
    cosines, sines = _waves(length, length, pair[0].shape[-1])
    at = np.arange(pair[0].shape[-1])
    share = np.where((at == 0) | (2 * at == length), 1, 2) * (at <= length // 2) / length
    real = spectra.along(pair[0], -1, cosines * share)
    return spectra.add("Sub", real, spectra.along(pair[1], -1, sines * share))


def _irfft2d(spectra, op, pair):
    return _irfft(spectra, op, spectra.turned(pair, -2, _lengths(op)[0], inverse=True))


def _fft(*axes, inverse=False):
    def turned(spectra, op, pair):
        for axis in axes:
            pair = spectra.turned(pair, axis, pair[0].shape[axis], inverse)
        return pair

    return turned


def _product(spectra, op, first, second):
    if len(first) == len(second) == 2:
        (a, b), (c, d) = first, second
        real = spectra.add("Sub", spectra.add("Mul", a, c), spectra.add("Mul", b, d))
        return real, spectra.add("AddV2", spectra.add("Mul", a, d), spectra.add("Mul", b, c))
    raise AssertionError("TensorFlow multiplies tensors of one type")


def _each(spectra, op, first, second):
    return tuple(spectra.add(op.type, *pair) for pair in zip(first, second, strict=True))


def _moved(spectra, op, pair):
    """Both parts under other axes."""
    found = []
    for part in pair:
        if op.type == "Transpose":
            tensor, attrs = tf.transpose(part.tensor, op.attrs["perm"]), dict(op.attrs)
        else:
            tensor, attrs = tf.reshape(part.tensor, op.shape), {"shape": list(op.shape)}
        kind = "Transpose" if op.type == "Transpose" else "Reshape"
        spectra.made.append(Op(kind, tensor, [part], {}, attrs))
        found.append(spectra.made[-1])
    return tuple(found)


def _size(spectra, op, pair):
    squares = [spectra.add("Mul", part, part) for part in pair]
    total = spectra.add("AddV2", *squares)
    spectra.made.append(Op("Sqrt", tf.sqrt(total.tensor), [total]))
    return spectra.made[-1]


# Op that gives complex numbers -> its parts.
COMPLEX = {
    **dict.fromkeys(("Add", "AddV2", "Sub"), _each),
    **dict.fromkeys(("ExpandDims", "Reshape", "Squeeze", "Transpose"), _moved),
    "Cast": lambda spectra, op, real: (real[0], spectra.nothing(real[0])),
    "Complex": lambda spectra, op, real, imaginary: (*real, *imaginary),
    "FFT": _fft(-1),
    "FFT2D": _fft(-1, -2),
    "IFFT": _fft(-1, inverse=True),
    "IFFT2D": _fft(-1, -2, inverse=True),
    "Mul": _product,
    "RFFT": _rfft,
    "RFFT2D": _rfft2d,
}

# Op that makes real numbers of complex ones -> what computes it.
REAL = {
    "ComplexAbs": _size,
    "IRFFT": _irfft,
    "IRFFT2D": _irfft2d,
    "Imag": lambda spectra, op, pair: pair[1],
    "Real": lambda spectra, op, pair: pair[0],
}
