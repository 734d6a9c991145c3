"""The README's first picture: three rows of the comparison that step 6 draws.

Reads   imgs/mnistcls/compare.png.
Writes  imgs/mnistcls/readme-rows.png: the first convolution, the second one, a dense layer.

    python tools/readme_rows.py
"""

from pathlib import Path

from PIL import Image

IMGS = Path(__file__).resolve().parents[1] / "imgs" / "mnistcls"
HEADING = 4 * 24 + 12  # pixels, as figures.draw_comparison sets its heading and its rows
TOP, ROW, BOTTOM = 24, 122, 8
SHOWN = 1, 5, 10  # conv1, conv2, dense1


def main():
    with Image.open(IMGS / "compare.png") as compare:
        rows(compare).save(IMGS / "readme-rows.png", optimize=True)


def rows(compare):
    """The rows SHOWN of the comparison, one below the other."""
    width, height = compare.size
    if (height - HEADING - TOP - BOTTOM) % ROW:
        raise ValueError(f"compare.png is {height} pixels high: its rows are no longer {ROW} each")
    picture = Image.new("RGB", (width, TOP + len(SHOWN) * ROW + BOTTOM), "white")
    for place, row in enumerate(SHOWN):
        top = HEADING + TOP + row * ROW - BOTTOM
        picture.paste(compare.crop((0, top, width, top + ROW)), (0, TOP + place * ROW - BOTTOM))
    return picture


if __name__ == "__main__":
    main()
