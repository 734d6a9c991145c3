"""A caffemodel: the binary `NetParameter`, written layer by layer.

The weights are not put into protobuf messages, whose lists of floats are slow; what comes before
them in the file is written by hand, and they follow as they lie in memory.
"""

import numpy as np

from tf2caffe.caffe import schema

FLOATS = 1 << 22  # so many are written at once: a weight may be computed while it is written


def write(name, layers, file):
    """Write a network of these layers into the binary file: one layer at a time is in memory."""
    file.write(schema.NetParameter(name=name).SerializeToString())
    for layer in layers:
        head = layer.message.SerializeToString()
        blobs = [(_blob_head(blob), blob) for blob in layer.blobs]
        fields = [_field(7, len(start) + 4 * blob.size) + start for start, blob in blobs]
        size = len(head) + sum(map(len, fields)) + sum(4 * blob.size for blob in layer.blobs)
        file.write(_field(100, size) + head)
        for field, blob in zip(fields, layer.blobs, strict=True):
            file.write(field)
            _write_floats(file, blob)


def _varint(number):
    """A whole number from 0 on as protobuf writes it: seven bits a byte, the lowest ones first."""
    *rest, last = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(bits | 128 for bits in rest), last])


def _field(number, size):
    """The tag of a length-delimited protobuf field, and the length."""
    return _varint(number << 3 | 2) + _varint(size)


def _blob_head(blob):
    """A `BlobProto` up to its data: the shape (field 7), then the tag of the floats (field 5)."""
    dims = b"".join(_varint(size) for size in blob.shape)
    shape = _field(1, len(dims)) + dims
    return _field(7, len(shape)) + shape + _field(5, 4 * blob.size)


def _write_floats(file, blob):
    flat = blob.reshape(-1)
    for start in range(0, flat.size, FLOATS):
        file.write(np.ascontiguousarray(flat[start : start + FLOATS], "<f4").data)
