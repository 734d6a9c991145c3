"""The pictures of a layer in the page: small PNGs of few colours, enlarged by the browser.

A layer has three: TensorFlow's channels, Caffe's, and their difference in the colours of the bound
(see `figures.error_shades`). They are as large as the layer is, at most `side` pixels a channel.
"""

import base64
import io

import numpy as np
from PIL import Image

from tf2caffe.pictures import figures

LEVELS, BROKEN, BETWEEN = 62, 62, 63  # colours of a scale; the indices of what is red, and white
SIDES = 56, 40, 28, 16, 8  # pixels of a channel, the largest that keeps the page small
BUDGET = 2_800_000  # letters of all pictures together
HEIGHT = 40  # pixels of a vector


def of_rows(compared):
    """The pictures of each `figures.Compared`, as JSON; as sharp as the BUDGET allows."""
    for side in SIDES:
        found, size = [], 0
        for row in compared:
            found.append(of_row(row, side))
            size += sum(len(found[-1][key]) for key in ("tf", "caffe", "difference"))
            if size > BUDGET:
                break
        else:
            return found
    return [None] * len(compared)


def of_row(row, side):
    """A layer's three pictures, and what stands above them."""
    spans = figures.channel_spans(row.tf, figures.COMPARED_CHANNELS)
    vector = figures.is_vector(np.asarray(row.tf))
    draw = bars if vector else mosaic
    difference = np.abs(figures.finite(row.caffe) - figures.finite(row.tf))
    shades = figures.error_shades(row.relative(), row.bound)
    return {
        "vector": vector,
        "tf": url(draw(row.tf, row.tf, spans, side)),
        "caffe": url(draw(row.caffe, row.tf, spans, side)),
        "difference": url(strip(shades, side) if vector else errors(shades, side)),
        "texts": [
            figures.span_text(row.tf)[0], figures.span_text(row.caffe)[0],
            f"at most {figures.number(figures.span(difference)[1])}",
        ],
        "channels": channels_text(row.tf, vector),
    }  # fmt: skip


def channels_text(array, vector):
    count = figures.as_channels(array).shape[-1]
    shown = min(count, figures.COMPARED_CHANNELS)
    return f"{np.size(array)} numbers" if vector else f"{shown} of {count} channels"


def mosaic(array, reference, spans, side):
    """Channels side by side on the scales of the reference: an image of palette HEAT."""
    channels = np.moveaxis(figures.as_channels(array), -1, 0)
    cells = [
        indexed((fitted(figures.finite(channel), side) - low) / ((high - low) or 1))
        for channel, low, high in zip(channels, *spans, strict=False)
    ]
    return palette_image(beside(cells), figures.HEAT)


def errors(shades, side):
    """The difference of the same channels in the colours of the bound; where it is worst stays."""
    channels = np.moveaxis(figures.as_channels(shades), -1, 0)[: figures.COMPARED_CHANNELS]
    cells = [indexed(worst(channel, side)) for channel in channels]
    return palette_image(beside(cells), figures.ERRORS)


def bars(array, reference, spans, side):
    """A vector as bars."""
    limits = figures.span(reference)
    pixels = figures.bars(np.ravel(array), *limits, HEIGHT, figures.PANEL, figures.BLUE)
    return Image.fromarray(pixels).quantize(8)


def strip(shades, side):
    """A vector's difference as a strip of cells."""
    vector = np.ravel(shades)
    cells = figures.largest_of(vector, min(vector.size, figures.PANEL))
    return palette_image(indexed(cells[None]), figures.ERRORS)


def fitted(channel, side):
    """A channel (H, W) as it is, or averaged to `side` pixels."""
    return channel if max(channel.shape) <= side else figures.resized(channel, side)


def worst(channel, side):
    """A channel (H, W) as it is, or the largest number of what each of `side` pixels stands for."""
    for axis, size in enumerate(channel.shape):
        if max(channel.shape) > side or size > side:
            cells = min(size, max(1, round(size * side / max(channel.shape))))
            starts = np.arange(cells) * size // cells
            channel = np.maximum.reduceat(channel, starts, axis)
    return channel


def indexed(scaled):
    """0..1 as indices of a palette; what is above 1 by more than rounding, or NaN, is BROKEN."""
    with np.errstate(invalid="ignore"):
        index = np.clip(np.nan_to_num(scaled) * (LEVELS - 1) + 0.5, 0, LEVELS - 1).astype(np.uint8)
    return np.where(np.isnan(scaled) | (scaled > 1.5), BROKEN, index).astype(np.uint8)


def beside(cells):
    """Cells side by side, a column between them."""
    height = max(cell.shape[0] for cell in cells)
    columns = []
    for cell in cells:
        padded = np.full((height, cell.shape[1] + 1), BETWEEN, np.uint8)
        padded[: cell.shape[0], :-1] = cell
        columns.append(padded)
    return np.concatenate(columns, 1)[:, :-1]


def palette_image(index, colours):
    scale = colours(np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
    ends = [figures.rgb(figures.RED), figures.rgb(figures.WHITE)]
    image = Image.fromarray(index)
    image.putpalette(np.concatenate([scale, ends]).astype(np.uint8).tobytes())
    return image


def url(image):
    """An image as a PNG's data URL."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=9)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def photo(array, side=96):
    """An input image as a JPEG's data URL."""
    file, image = io.BytesIO(), Image.fromarray(figures.photograph(array))
    image.resize((side, side)).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
