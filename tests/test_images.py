"""Images of every kind that Pillow writes: honoured, or told."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tf2caffe.failure import Failure
from tf2caffe.frontend import images

COLOUR, GREY = (6, 5, 3), (6, 5, 1)


@pytest.fixture
def pixels():
    return np.random.default_rng(4).integers(0, 256, (6, 5, 4), np.uint8)


def loaded(image, folder, shape, capsys, name="a.png", **settings):
    """The image as the network takes it, and what was said of it."""
    image.save(folder / name, **settings)
    array = images.load_image(folder / name, shape)
    assert array.shape == shape and array.dtype == np.float32
    return array, capsys.readouterr().out.removeprefix(f"{folder / name}: ").strip()


def test_as_it_is(pixels, tmp_path, capsys):
    for image, shape in ((pixels[..., :3], COLOUR), (pixels[..., 0], GREY)):
        array, said = loaded(Image.fromarray(image), tmp_path, shape, capsys)
        assert np.array_equal(array, image.reshape(shape)) and said == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, pixels, tmp_path, capsys):
    """Stored turned, it is read upright."""
    stored = Image.fromarray(pixels[..., :3])
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    if orientation in back:
        stored = stored.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    array, said = loaded(stored, tmp_path, COLOUR, capsys, exif=exif)
    assert np.array_equal(array, pixels[..., :3])
    assert said == ("turned upright, as its EXIF orientation says" if orientation > 1 else "")


def test_transparent_pixels_lie_on_white(pixels, tmp_path, capsys):
    pixels[..., 3] = 255
    array, said = loaded(Image.fromarray(pixels), tmp_path, COLOUR, capsys)
    assert np.array_equal(array, pixels[..., :3]) and said == ""  # opaque: nothing is lost
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 128
    array, said = loaded(Image.fromarray(pixels), tmp_path, COLOUR, capsys)
    assert said == "transparent in places, laid on white"
    assert (array[0, 0] == 255).all() and np.array_equal(array[1:], pixels[1:, :, :3])
    half = pixels[0, 1, :3] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(array[0, 1] - half).max() <= 1


def test_grey_with_alpha_and_palette_with_a_transparent_colour(pixels, tmp_path, capsys):
    grey = Image.fromarray(pixels[..., :2].copy(), "LA")
    array, said = loaded(grey, tmp_path, GREY, capsys)
    assert said == "transparent in places, laid on white"
    share = pixels[..., 1:2] / 255
    assert np.abs(array - (pixels[..., :1] * share + 255 * (1 - share))).max() <= 1
    palette = Image.fromarray(pixels[..., 0] % 2, "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    array, said = loaded(palette, tmp_path, COLOUR, capsys, transparency=0)
    assert said == "transparent in places, laid on white"
    wanted = np.where(pixels[..., :1] % 2, [200, 100, 50], [255, 255, 255])
    assert np.array_equal(array, wanted)


def test_palette(pixels, tmp_path, capsys):
    image = Image.fromarray(pixels[..., 0] % 2, "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    array, said = loaded(image, tmp_path, COLOUR, capsys)
    assert said == ""
    assert np.array_equal(array, np.where(pixels[..., :1] % 2, [200, 100, 50], [10, 20, 30]))
    image.putpalette([7, 7, 7, 9, 9, 9])
    array, said = loaded(image, tmp_path, GREY, capsys)
    assert said == "" and np.array_equal(array, 7 + 2 * (pixels[..., :1] % 2))


def test_colours_that_do_not_fit(pixels, tmp_path, capsys):
    array, said = loaded(Image.fromarray(pixels[..., 0]), tmp_path, COLOUR, capsys)
    assert said == "grey, the same for red, green and blue"
    assert np.array_equal(array, pixels[..., :1].repeat(3, 2))
    image = Image.fromarray(pixels[..., :3])
    array, said = loaded(image, tmp_path, GREY, capsys)
    assert said == "in colour, converted to grey"
    assert np.array_equal(array[..., 0], np.asarray(image.convert("L")))
    array, said = loaded(image.convert("CMYK"), tmp_path, COLOUR, capsys, "a.jpg", quality=100)
    assert said == "CMYK, converted to RGB"
    assert np.abs(array.mean() - pixels[..., :3].mean()) < 20
    black = Image.fromarray(pixels[..., 0] > 127)
    array, said = loaded(black, tmp_path, GREY, capsys)
    assert said == "" and np.array_equal(array[..., 0], 255 * (pixels[..., 0] > 127))


def test_sixteen_bits(tmp_path, capsys):
    """The upper eight are what a viewer shows; other numbers have no such range."""
    deep = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000
    Image.fromarray(deep).save(tmp_path / "grey.png")
    (tmp_path / "colour.png").write_bytes(png_of_sixteen_bits(deep))
    for name in ("grey.png", "colour.png"):
        for channels in (3, 1):
            found = images.load_image(tmp_path / name, (6, 5, channels))
            assert (
                "16 bits a channel, of which the network gets the upper 8"
                in capsys.readouterr().out
            )
            assert np.abs(found[..., 0] - (deep >> 8)).max() <= (channels == 1)  # grey is a mean
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "floats.tiff")
    with pytest.raises(Failure, match="floats.tiff: its pixels are no whole numbers of 8 or 16"):
        images.load_image(tmp_path / "floats.tiff", (6, 5, 1))


def test_notes_of_many_images_are_one(tmp_path, capsys):
    for count in (3, 9):
        for at in range(count):
            Image.new("L", (4 + at, 3)).save(tmp_path / f"a{at}.png")
        images.load_images(tmp_path, (5, 5, 1))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == (3 if count == 3 else 2) and "a0.png: 4x3, resized to 5x5" in lines[0]
    assert lines[1] == "  and 8 more images: resized to 5x5"


def png_of_sixteen_bits(grey):
    """A PNG in colour, which Pillow reads but does not write."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = grey.shape
    rows = grey[..., None].repeat(3, 2).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def test_several_pictures_in_one_file(pixels, tmp_path, capsys):
    first, second = (Image.fromarray(pixels[..., at]) for at in (0, 1))
    array, said = loaded(first, tmp_path, GREY, capsys, save_all=True, append_images=[second])
    assert said == "the first of its 2 pictures is taken"
    assert np.array_equal(array[..., 0], pixels[..., 0])
