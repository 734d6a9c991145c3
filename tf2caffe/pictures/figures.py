"""The pictures that both sides share: channels, bars, answers, losses, and the comparison.

Arrays come without a batch: (H, W, C) for images, (F,) for vectors. Everything is placed by the
pixel on one `Page`, text by Pillow: of matplotlib's, a large network's diagram would take seconds.
"""

import re
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont

from tf2caffe.paths import replacing

DPI = 64  # a power of two: pixels / DPI * DPI is exact
FONTS = f"{matplotlib.get_data_path()}/fonts/ttf"  # the same picture on every machine
INK, FAINT, LINE, PAPER, WHITE = "#1f2933", "#6b7785", "#aab3bd", "#f4f6f8", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#2f6db3", "#e07b1a", "#1d8348", "#c62828"
HEAT = matplotlib.colormaps["viridis"].with_extremes(bad=RED)  # bad: NaN and infinity
PALE = 1e-7  # of a layer's scale: what rounding in float32 leaves, drawn palest
ERRORS = matplotlib.colormaps["YlGnBu"].with_extremes(over=RED, bad=RED)

ROWS_A_PAGE = 16
CHANNELS_SHOWN, TILE = 10, 112
COMPARED_CHANNELS, COMPARED_TILE, COMPARED_ROW = 6, 56, 122
ANSWERS_A_ROW, ANSWERS_SHOWN, ANSWER_TILE = 5, 20, 196
LOSS_TEXT = 14  # points of 1/72 inch, of DPI pixels an inch
VALUES_LABELLED = 10
MARGIN, GAP = 24, 8
HEADING, HEADING_LINE = 12, 24  # pixels: below a page's heading, each line of it
PANEL, PANEL_TOP = COMPARED_CHANNELS * (COMPARED_TILE + GAP) - GAP, 17
SMALL, NORMAL, LARGE = 11, 13, 14
ALIGNED = {"left": 0, "center": 0.5, "right": 1}  # how much of a text is left of its place
LETTERINGS = 4096  # texts kept, since a large network says many things often
COMPRESSION = 3  # of PNG: half the time of 6, a quarter more bytes


class Page:
    """A white sheet, measured in pixels from its top left corner; `scale` draws it smaller.

    `shapes`, matplotlib's artists with vertices in these pixels, lie under all the rest.
    """

    def __init__(self, width, height, shapes=(), scale=1):
        self.width, self.height, self.scale = int(width * scale), int(height * scale), scale
        self.sheet = sheet((self.width, self.height), shapes, scale)

    def text(self, x, y, string, size=NORMAL, color=INK, bold=False, align="left"):
        """Write `string` with its baseline at `y`, to the pixel."""
        size = max(1, int(size * self.scale))
        string = " ".join(string.splitlines())
        mask, left, top = lettering(string, size, bold)
        start = x * self.scale - ALIGNED[align] * text_width(string, size, bold)
        self.sheet.paste(color, (round(start) + left, round(y * self.scale) + top), mask)

    def image(self, x, y, pixels):
        """Copy (H, W, 3) `pixels` to the sheet as they are."""
        self.sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (int(x), int(y)))

    def frame(self, left, top, right, bottom, color=RED, width=3):
        """The outline of a rectangle."""
        ImageDraw.Draw(self.sheet).rectangle([left, top, right, bottom], outline=color, width=width)

    def save(self, path):
        with replacing(path) as temporary:
            self.sheet.save(temporary, compress_level=COMPRESSION)


def sheet(size, shapes, scale):
    """A white image of `size` (width, height) with matplotlib's artists on it, y downwards."""
    if not shapes:
        return Image.new("RGB", size, WHITE)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=WHITE)
    for shape in shapes:
        shape.set_transform(Affine2D().scale(scale, -scale).translate(0, size[1]))
        figure.add_artist(shape)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombuffer("RGBA", size, canvas.buffer_rgba()).convert("RGB")


@cache
def font(size, bold=False):
    """`size` is in pixels."""
    file = f"{FONTS}/DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(LETTERINGS)
def lettering(string, size, bold):
    """A text as a mask, and where its left upper corner is, from the start of its baseline."""
    left, top, right, bottom = font(size, bold).getbbox(string, anchor="ls")
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), string, 255, font(size, bold), "ls")
    return mask, left, top


@lru_cache(LETTERINGS)
def text_width(text, size=NORMAL, bold=False):
    """The width of `text` in pixels."""
    return font(size, bold).getlength(text)


@cache
def shortened(text, width, size=NORMAL, bold=False):
    """`text` on one line, an ellipsis for its middle where it is wider than `width` pixels."""
    text = fitted = " ".join(text.splitlines())
    kept = len(text)
    while text_width(fitted, size, bold) > width and kept > 1:
        kept -= 1
        fitted = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return fitted


def number(value):
    """Three digits: 0.0123 and 1.23e-7."""
    return f"{value + 0.0:.3g}".replace("e-0", "e-").replace("e+0", "e")


def page_paths(path, count):
    """NAME.png, NAME-2.png, ..."""
    path = Path(path)
    more = [path.with_name(f"{path.stem}-{page}{path.suffix}") for page in range(2, count + 1)]
    return [path, *more]


def save_pages(path, pages):
    """Save each page as it is drawn, remove what a longer run left, return the pages' paths."""
    path, count = Path(path), 0
    for count, page in enumerate(pages, 1):  # noqa: B007
        page.save(page_paths(path, count)[-1])
    written = page_paths(path, count)
    page_name = re.compile(rf"{re.escape(path.stem)}-\d+{re.escape(path.suffix)}")
    for file in path.parent.iterdir():
        if page_name.fullmatch(file.name) and file not in written:
            file.unlink()
    return written


def row_pages(rows, width, row_height, draw_row, heading=()):
    """Yield pages of `rows`, each drawn by `draw_row(page, y, row)`; no rows: a page saying so.

    `heading` are the lines above them on each page, (text, colour) each.
    """
    top = heading_height(heading)
    for first in range(0, max(1, len(rows)), ROWS_A_PAGE):
        shown = rows[first : first + ROWS_A_PAGE]
        page = Page(width, top + 2 * MARGIN - 2 * GAP + max(1, len(shown)) * row_height)
        draw_heading(page, heading)
        for index, row in enumerate(shown):
            draw_row(page, top + MARGIN + index * row_height, row)
        if not shown:
            page.text(MARGIN, top + MARGIN + LARGE, "no layers of this kind", color=FAINT)
        yield page


def heading_height(heading):
    return len(heading) * HEADING_LINE + HEADING if heading else 0


def draw_heading(page, heading):
    """The lines at the head of a page, the first one in bold."""
    for at, (line, color) in enumerate(heading):
        line = shortened(line, page.width - 2 * MARGIN, LARGE, at == 0)
        page.text(MARGIN, MARGIN + LARGE + at * HEADING_LINE, line, LARGE, color, at == 0)


def finite(array):
    """As float64, NaN for all that is not finite."""
    array = double(array)
    return np.where(np.isfinite(array), array, np.nan)


def double(array):
    """As float64; a signalling NaN becomes a quiet one, without a warning."""
    with np.errstate(invalid="ignore"):
        return np.asarray(array, np.float64)


def span(array):
    """(least, greatest) of the finite values; (0, 0) if there are none."""
    values = double(array)
    values = values[np.isfinite(values)]
    return (values.min(), values.max()) if values.size else (0.0, 0.0)


def span_text(array):
    """`min|max`, or how many values are not finite; and the colour to print it in."""
    broken = np.size(array) - np.count_nonzero(np.isfinite(array))
    if broken:
        return f"{broken} not finite", RED
    return "|".join(number(value) for value in span(array)), FAINT


def as_channels(array):
    """Any array as (H, W, C): a vector as one row, a matrix as one channel."""
    array = np.asarray(array)
    if array.ndim < 3:
        return np.atleast_2d(array)[:, :, None]
    return array.reshape(-1, *array.shape[-2:])


def channel_limits(layers):
    """The colour scales of `draw_channels`: name -> (least, greatest), a value a shown channel."""
    return {name: channel_spans(array, CHANNELS_SHOWN) for name, array in layers.items()}


def channel_spans(array, count):
    """(H, W, C) -> (least, greatest) of each of the first `count` channels."""
    spans = [span(channel) for channel in np.moveaxis(as_channels(array)[..., :count], -1, 0)]
    return tuple(np.array(spans).reshape(-1, 2).T)


def bar_limits(layers):
    """The scales of `draw_bars`: name -> (least, greatest)."""
    return {name: span(array) for name, array in layers.items()}


def resized(image, side):
    """(H, W, ...) to `side` pixels: cells are repeated to enlarge, averaged to reduce."""
    scale = side / max(image.shape[:2])
    for axis in (0, 1):
        image = resampled(image, axis, max(2, round(image.shape[axis] * scale)))
    return image


def resampled(image, axis, size):
    """One axis of `image` to `size` cells."""
    cells = image.shape[axis]
    starts = np.arange(size) * cells // size
    if size >= cells:
        return image.take(starts, axis)
    counts = np.diff(starts, append=cells).reshape(-1, *[1] * (image.ndim - axis - 1))
    return np.add.reduceat(image, starts, axis) / counts


def coloured(channel, low, high, colours):
    """(H, W) -> (H, W, 3) bytes on the colour scale low..high."""
    scaled = (channel - low) / ((high - low) or 1)
    return colours(scaled, bytes=True)[..., :3]


def draw_tile(page, x, y, pixels, side):
    """Centre (H, W, 3) `pixels` in a square of `side` pixels."""
    height, width = pixels.shape[:2]
    page.image(x + (side - width) // 2, y + (side - height) // 2, pixels)


def draw_mosaic(page, x, y, array, spans, side, colours):
    """The first channels of (H, W, C) side by side, one for each of `spans`' scales."""
    shown = np.moveaxis(as_channels(array), -1, 0)
    for index, (channel, low, high) in enumerate(zip(shown, *spans, strict=False)):
        pixels = coloured(resized(finite(channel), side), low, high, colours)
        draw_tile(page, x + index * (side + GAP), y, pixels, side)


def draw_title(page, y, name, array, width, count=None):
    """The layer's name in bold and its shape; how many channels are drawn, if not all `count`."""
    shape = "×".join(str(size) for size in np.shape(array))
    channels = as_channels(array).shape[-1]
    if count and channels > count:
        shape += f"  ·  {count} of {channels} channels"
    name = shortened(name, width - text_width(shape) - 2 * GAP, LARGE, True)
    page.text(MARGIN, y + LARGE, name, LARGE, bold=True)
    page.text(MARGIN + text_width(name, LARGE, True) + 2 * GAP, y + LARGE, shape, color=FAINT)


def draw_channels(path, layers, limits=None, heading=()):
    """A row a layer, `min|max` over each of its first ten channels; return the pages' paths.

    `layers` is name -> (H, W, C). Every channel has its own colour scale; `limits`, as from
    `channel_limits` under the same names, sets them, so that two pictures can be laid side by side.
    """
    limits = channel_limits(layers) | (limits or {})
    rows = [(name, array, limits[name]) for name, array in layers.items()]
    width = 2 * MARGIN + CHANNELS_SHOWN * (TILE + GAP) - GAP
    return save_pages(path, row_pages(rows, width, TILE + 62, draw_channel_row, heading))


def draw_channel_row(page, y, row):
    name, array, spans = row
    draw_title(page, y, name, array, page.width - 2 * MARGIN, CHANNELS_SHOWN)
    for index, channel in enumerate(np.moveaxis(as_channels(array), -1, 0)[:CHANNELS_SHOWN]):
        text, color = span_text(channel)
        middle = MARGIN + index * (TILE + GAP) + TILE / 2
        page.text(middle, y + 33, text, SMALL, color, align="center")
    draw_mosaic(page, MARGIN, y + 38, array, spans, TILE, HEAT)


def draw_bars(path, layers, limits=None, heading=()):
    """A row of bars a layer, at most ten of them with their values; return the pages' paths.

    `layers` is name -> (F,); `limits`, as from `bar_limits` under the same names, sets the scales.
    """
    limits = bar_limits(layers) | (limits or {})
    rows = [(name, np.ravel(array), limits[name]) for name, array in layers.items()]
    width = 2 * MARGIN + CHANNELS_SHOWN * (TILE + GAP) - GAP
    return save_pages(path, row_pages(rows, width, 170, draw_bar_row, heading))


def draw_bar_row(page, y, row):
    name, vector, (low, high) = row
    gutter, top, height = 60, y + 42, 84
    width = page.width - 2 * MARGIN - gutter
    draw_title(page, y, name, vector, page.width - 2 * MARGIN - 2 * TILE)
    text, color = span_text(vector)
    page.text(page.width - MARGIN, y + LARGE, text, color=color, align="right")
    pixels = bars(vector, low, high, height, width, BLUE)
    page.image(MARGIN + gutter, top, pixels)
    for value, baseline in ((max(0, high), top + 9), (min(0, low), top + height)):
        page.text(MARGIN + gutter - GAP, baseline, number(value), SMALL, FAINT, align="right")
    if vector.size <= VALUES_LABELLED:
        label_bars(page, MARGIN + gutter, top, height, width, vector)


def label_bars(page, x, top, height, width, vector):
    """The value over each bar, its index below."""
    for index, value in enumerate(vector):
        middle = x + (index + 0.5) * width / vector.size
        color = INK if np.isfinite(value) else RED
        page.text(middle, top - 5, number(value), SMALL, color, align="center")
        page.text(middle, top + height + 14, str(index), SMALL, FAINT, align="center")


def bars(vector, low, high, height, width, color):
    """(F,) as bars from zero: (height, width, 3) bytes.

    Where a pixel's column holds several bars it shows their range; few bars stand apart.
    """
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = rgb(PAPER)
    low, high = min(0, low), max(0, high)
    zero = round((height - 1) * (high / (high - low) if high > low else 1))
    if vector.size:
        where = np.arange(width) * vector.size
        least, greatest = bar_ends(finite(vector), where // width)
        levels = high - (np.arange(height)[:, None] + 0.5) / height * (high - low)
        inside = (levels < np.fmax(greatest, 0)) & (levels > np.fmin(least, 0))
        apart = width < 8 * vector.size or np.abs(where / width % 1 - 0.5) < 0.4
        pixels[inside & apart] = rgb(color)
        pixels[:, np.isnan(greatest)] = rgb(RED)
    pixels[zero] = rgb(LINE)
    return pixels


def bar_ends(vector, starts):
    """The least and the greatest value of each pixel's column; NaN if one of them is NaN."""
    return np.minimum.reduceat(vector, starts), np.maximum.reduceat(vector, starts)


def rgb(color):
    """`#rrggbb` -> three bytes."""
    return np.frombuffer(bytes.fromhex(color[1:]), np.uint8)


def draw_answers(path, images, captions, right=None, heading=()):
    """Up to twenty images, five in a row, a caption over each; return the path.

    An image is (H, W), (H, W, 1) or (H, W, 3) in any range of values. A caption may have several
    lines. `right` holds True, False or None for each: green, red with a frame, or plain.
    """
    right = [None] * len(images) if right is None else right
    answers = list(zip(images, captions, right, strict=True))[:ANSWERS_SHOWN]
    room = 22 * max([1, *(caption.count("\n") + 1 for _, caption, _ in answers)])
    across, down = ANSWER_TILE + 2 * GAP, ANSWER_TILE + room + 2 * GAP
    rows, top = max(1, -(-len(answers) // ANSWERS_A_ROW)), heading_height(heading) + MARGIN
    width = 2 * MARGIN + ANSWERS_A_ROW * across - 2 * GAP
    page = Page(width, top + MARGIN + rows * down - 2 * GAP)
    draw_heading(page, heading)
    for index, answer in enumerate(answers):
        row, column = divmod(index, ANSWERS_A_ROW)
        draw_answer(page, MARGIN + column * across, top + row * down, room, answer)
    page.save(path)
    return Path(path)


def draw_answer(page, x, y, heading, answer):
    image, caption, right = answer
    color = {None: INK, True: GREEN, False: RED}[right]
    for index, line in enumerate(caption.split("\n")):
        line = shortened(line, ANSWER_TILE, 15, True)
        page.text(x + ANSWER_TILE / 2, y + 15 + 22 * index, line, 15, color, True, "center")
    draw_tile(page, x, y + heading, photograph(image), ANSWER_TILE)
    if right is False:
        page.frame(x, y + heading, x + ANSWER_TILE - 1, y + heading + ANSWER_TILE - 1, width=4)


def photograph(image):
    """An image of any range as (ANSWER_TILE, ANSWER_TILE, 3) bytes, its least value black."""
    image = as_channels(image)[..., : 3 if np.ndim(image) == 3 and np.shape(image)[2] >= 3 else 1]
    low, high = span(image)
    scaled = (resized(finite(image), ANSWER_TILE) - low) / ((high - low) or 1)
    return np.broadcast_to(np.nan_to_num(scaled) * 255, (*scaled.shape[:2], 3)).astype(np.uint8)


def draw_losses(path, steps, train, test_steps, test):
    """The training loss raw and smoothed, and the test loss, over the steps; return the path."""
    figure = Figure(figsize=(960 / DPI, 540 / DPI), dpi=DPI, facecolor=WHITE, layout="tight")
    axes = figure.add_subplot()
    axes.plot(steps, train, color=BLUE, alpha=0.25, linewidth=1, label="training, raw")
    axes.plot(steps, smoothed(train), color=BLUE, linewidth=2, label="training, smoothed")
    axes.plot(test_steps, test, color=ORANGE, linewidth=2, marker="o", label="test")
    everything = finite([*train, *test])
    if (everything > 0).all() and everything.max(initial=1) > 20 * everything.min(initial=1):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=LOSS_TEXT)
    axes.set_title("loss while training", fontsize=LOSS_TEXT, loc="left")
    axes.set_xlabel("training step", fontsize=LOSS_TEXT)
    axes.set_ylabel("cross-entropy loss", fontsize=LOSS_TEXT)
    axes.grid(color="#e3e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=LOSS_TEXT)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
    return Path(path)


def smoothed(values):
    """The exponential moving average over about a fiftieth of `values`, unbiased at the start."""
    keep = 1 - 1 / max(2, len(values) / 50)
    averages, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        averages.append(total / weight)
    return averages


class Compared(NamedTuple):
    """A layer on both sides, (H, W, C) or (F,): names, arrays, relative error and its bound.

    `scale` is what the error is relative to (default: the largest number of TensorFlow's), `fault`
    says why the layer is not equal.
    """

    name: str
    blob: str
    tf: np.ndarray
    caffe: np.ndarray
    error: float
    bound: float = 1e-5
    scale: float | None = None
    fault: str | None = None

    def relative(self):
        """The size of the difference at each place, relative to the scale; NaN if not finite."""
        difference = np.abs(finite(self.caffe) - finite(self.tf))
        scale = self.scale or np.abs(span(self.tf)).max() or 1
        return difference / scale


def draw_comparison(path, rows, heading=()):
    """TensorFlow, Caffe and their difference, a row a layer; return the pages' paths.

    `rows` are `Compared`, or tuples of what that has. Both sides are drawn on TensorFlow's scale,
    the difference on one that the bound sets: see `error_colours`. The first row with a fault has a
    frame.
    """
    rows, width = [Compared(*row) for row in rows], 3 * (PANEL + MARGIN) + MARGIN
    bad = next((row for row in rows if row.fault), None)
    heading = [*heading, ("", INK)] if heading else ()  # the last line is the colours' key

    def draw_row(page, y, row):
        draw_compared(page, y, row)
        if row is bad:
            page.frame(GAP, y - GAP, page.width - GAP, y + COMPARED_ROW - 2 * GAP)

    pages = row_pages(rows, width, COMPARED_ROW, draw_row, heading)
    return save_pages(path, map(partial(with_key, heading=heading), pages))


def with_key(page, heading):
    """The page with the key of the difference's colours in the last line of its heading."""
    if heading:
        draw_key(page, MARGIN, MARGIN + (len(heading) - 1) * HEADING_LINE)
    return page


def draw_key(page, x, y):
    """What the colours of a difference say, from pale to beyond the bound."""
    ramp, beyond = np.linspace(0, 1, 160), np.full(28, 2.0)
    parts = ["difference, of the layer's scale:", f"{number(PALE)} or less", ramp, "the bound"]
    for part in (*parts, beyond, "beyond it"):
        if isinstance(part, str):
            page.text(x, y + LARGE, part, SMALL, FAINT)
            x += text_width(part, SMALL) + GAP
        else:
            strip = np.broadcast_to(part, (LARGE, part.size))
            page.image(x, y + 3, ERRORS(strip, bytes=True)[..., :3])
            x += part.size + GAP


def draw_compared(page, y, row):
    verdict = f"relative error {number(row.error)}, bound {number(row.bound)}"
    room = page.width - 2 * MARGIN - 4 * GAP - text_width(verdict, bold=True)
    half = room // 2 - TILE
    names = f"{shortened(row.name, half, LARGE, True)} → {shortened(row.blob, half, LARGE, True)}"
    count = None if is_vector(np.asarray(row.tf)) else COMPARED_CHANNELS
    draw_title(page, y, names, row.tf, room, count)
    color = INK if row.error <= row.bound and not row.fault else RED
    page.text(page.width - MARGIN, y + LARGE, verdict, NORMAL, color, True, "right")
    tf_array, caffe_array = np.asarray(row.tf), np.asarray(row.caffe)
    x, step = MARGIN, (page.width - MARGIN) // 3
    draw_panel(page, x, y + 24, ("TensorFlow", *span_text(tf_array)), tf_array, tf_array)
    draw_panel(page, x + step, y + 24, ("Caffe", *span_text(caffe_array)), caffe_array, tf_array)
    if tf_array.shape == caffe_array.shape:
        draw_difference(page, x + 2 * step, y + 24, row)
    else:
        shape = "×".join(str(size) for size in caffe_array.shape)
        draw_panel_title(page, x + 2 * step, y + 24, "difference", f"none: Caffe has {shape}", RED)


def draw_panel(page, x, y, title, array, reference):
    """One side, on the scales of `reference`."""
    draw_panel_title(page, x, y, *title)
    if is_vector(array):
        draw_panel_bars(page, x, y, array, *span(reference), BLUE)
    else:
        spans = channel_spans(reference, COMPARED_CHANNELS)
        draw_mosaic(page, x, y + PANEL_TOP, array, spans, COMPARED_TILE, HEAT)


def draw_difference(page, x, y, row):
    """How far Caffe is from TensorFlow, in colours that the bound sets; a vector as a strip."""
    relative = row.relative()
    reach = np.abs(span(finite(row.caffe) - finite(row.tf))).max()
    draw_panel_title(page, x, y, "difference", f"at most {number(reach)}", FAINT)
    shades = error_shades(relative, row.bound)
    if is_vector(shades):
        strip = np.ravel(shades)
        cells = largest_of(strip, PANEL) if strip.size else np.zeros(PANEL)
        pixels = ERRORS(np.broadcast_to(cells, (COMPARED_TILE, PANEL)), bytes=True)[..., :3]
        page.image(x, y + PANEL_TOP, pixels)
    else:
        spans = np.outer([0, 1], np.ones(COMPARED_CHANNELS))
        draw_mosaic(page, x, y + PANEL_TOP, shades, spans, COMPARED_TILE, ERRORS)


def error_shades(relative, bound):
    """0 for PALE or less, 1 at the bound, on a scale of logarithms; 2 beyond it; NaN stays."""
    dark = max(bound, 10 * PALE)
    with np.errstate(divide="ignore", invalid="ignore"):
        shades = np.clip(np.log(relative / PALE) / np.log(dark / PALE), 0, 1)
    return np.where(relative > bound, 2, np.where(np.isfinite(relative), shades, np.nan))


def largest_of(vector, width):
    """A vector as `width` cells: each the largest of the numbers that it stands for."""
    starts = np.arange(width) * vector.size // width
    return np.maximum.reduceat(vector, starts)


def draw_panel_title(page, x, y, side, text, color):
    page.text(x, y + SMALL, side, SMALL, INK)
    page.text(x + text_width(side, SMALL) + GAP, y + SMALL, text, SMALL, color)


def draw_panel_bars(page, x, y, array, low, high, color):
    pixels = bars(np.ravel(array), low, high, COMPARED_TILE, PANEL, color)
    page.image(x, y + PANEL_TOP, pixels)


def is_vector(array):
    """(F,), and (1, 1, F) as pooling over the whole image leaves it."""
    return array.ndim < 2 or array.size == array.shape[-1]
