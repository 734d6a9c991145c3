"""A diagram as SVG: text stays text, and nothing is fetched."""

from html import escape

from matplotlib.path import Path

from tf2caffe.pictures.figures import FAINT, LINE, NORMAL, PAPER, WHITE

FONTS = "DejaVu Sans, Verdana, sans-serif"  # the first two are equally wide


def text(picture):
    """The `diagram.Picture` as an SVG file's text."""
    width, height = int(picture.width), int(picture.height)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONTS}">',
        f'<rect width="100%" height="100%" fill="{WHITE}"/>',
        f'<path fill="none" stroke="{LINE}" stroke-width="1.3" d="{joined(picture.lines)}"/>',
        f'<path fill="{FAINT}" d="{joined(picture.tips)}"/>',
        *(written(*label) for label in picture.labels),
        *(drawn(tile) for tile in picture.tiles),
        "</svg>\n",
    ]
    return "\n".join(lines)


def drawn(tile):
    """A box, and what it says to the pointer."""
    parts = [
        f"<g><title>{escape(tile.hint)}</title>",
        *(f'<path fill="{PAPER}" stroke="{LINE}" d="{path(body)}"/>' for body in tile.bodies),
        f'<path fill="{tile.color}" d="{path(tile.header)}"/>',
        *(written(*one) for one in tile.texts),
        "</g>",
    ]
    return "\n".join(parts)


def written(x, y, string, size=NORMAL, color="", bold=False, align="left"):
    """A text as `Page.text` takes it."""
    weight = ' font-weight="bold"' if bold else ""
    anchor = ' text-anchor="middle"' if align == "center" else ""
    style = f'font-size="{size}" fill="{color}"{weight}{anchor}'
    return f'<text x="{number(x)}" y="{number(y)}" {style}>{escape(string)}</text>'


def joined(paths):
    return "".join(map(path, paths))


def path(shape):
    """A matplotlib path as SVG's `d`."""
    parts = []
    for points, code in shape.iter_segments(curves=True, simplify=False):
        numbers = "" if code == Path.CLOSEPOLY else " ".join(map(number, points))
        parts.append(COMMANDS[code] + numbers)
    return "".join(parts)


def number(value):
    """At most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


COMMANDS = {
    Path.MOVETO: "M",
    Path.LINETO: "L",
    Path.CURVE3: "Q",
    Path.CURVE4: "C",
    Path.CLOSEPOLY: "Z",
}
