"""Images read from files as the networks take them; TensorFlow is not needed for it."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tf2caffe.failure import Failure, first_line

PROJECT = Path(__file__).resolve().parents[2]
ORIENTATION = ExifTags.Base.Orientation
EXPECTED = "expected.txt"
SINGLY = 3  # images with the same note that are named one by one
KINDS = {".png", ".jpg", ".jpeg", ".bmp"}
READ_TWICE = 64 << 20  # bytes of images that are decoded before the model is loaded


def test_folder(handoff):
    """Where the network's test images are: under DIR, else in the project; None without any."""
    shipped = PROJECT / "imgs" / "test" / handoff.name
    return next((folder for folder in (handoff.test_images, shipped) if folder.is_dir()), None)


def test_images(handoff, shape):
    """The network's test images as `load_images` gives them."""
    return load_images(test_folder(handoff) or handoff.test_images, shape)


def expected(source, names):
    """The label that each image should get, as EXPECTED beside it says; None if it is not there.

    A line of that file is an image's name and its label, with blanks between.
    """
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    path = folder / EXPECTED
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a text file in UTF-8") from None
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    short = [pair[0] for pair in pairs if len(pair) < 2]
    if short:
        raise Failure(f"{path}: {short[0]} has no label; write the image's name, then its label")
    known = {name: label.strip() for name, label in pairs}
    return [known.get(name) for name in names]


def load_images(source, shape):
    """Names and a float32 array (N, H, W, C) of 0..255 of a folder's images, or of listed files.

    `shape` is (H, W, C) with C of 1 (grey) or 3 (red, green, blue). What an image needed to fit it
    is printed.
    """
    files = image_files(source) if isinstance(source, str | Path) else [Path(f) for f in source]
    notes = []
    pixels = [load_image(f, shape, lambda *note: notes.append(note)) for f in files]
    print_notes(notes)
    return [f.name for f in files], np.stack(pixels)


def say(file, detail, change):
    """Print what an image needed: what it was, then what became of it."""
    print(f"{file}: {detail}, {change}" if detail else f"{file}: {change}")


def print_notes(notes):
    """The notes, each on a line; of more than SINGLY with the same change, the first and how many.

    A note is (file, what it was, what became of it).
    """
    changes = {}
    for file, detail, change in notes:
        changes.setdefault(change, []).append((file, detail))
    for change, images in changes.items():
        for image in images[: SINGLY if len(images) <= SINGLY else 1]:
            say(*image, change)
        if len(images) > SINGLY:
            print(f"  and {len(images) - 1} more images: {change}")


def image_files(source):
    """The file, or the folder's images in the order of their names, img2 before img10."""
    folder = Path(source)
    if folder.is_file():
        return [folder]
    files = [f for f in folder.glob("*") if f.suffix.lower() in KINDS and f.is_file()]
    if not files:
        raise Failure(f"{folder}: no images here ({', '.join(sorted(KINDS))})")
    return sorted(files, key=lambda f: (len(f.stem), f.name))


def refuse_damaged(files):
    """Raise `Failure` where one of the images cannot be read; of many, only their heads are."""
    whole = sum(file.stat().st_size for file in files) < READ_TWICE
    for file in files:
        decoded(file, whole)


def load_image(file, shape, note=say):
    """The image as a float32 array of `shape`."""
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    image = fitted_colours(file, open_image(file, note), mode, note)
    if image.size != (width, height):
        note(file, f"{image.width}x{image.height}", f"resized to {width}x{height}")
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32).reshape(shape)


def open_image(file, note=say):
    """The image, upright, as viewers show it; what is not taken as it is stored is printed."""
    upright, deep, turned, count = decoded(file)
    if deep:
        note(file, "16 bits a channel", "of which the network gets the upper 8")
    if turned:
        note(file, "turned upright", "as its EXIF orientation says")
    if count > 1:
        note(file, "", f"the first of its {count} pictures is taken")
    return upright


def decoded(file, whole=True):
    """(the image, fully read if `whole`, whether it has 16 bits, whether it was turned upright, how
    many it is of). Raises `Failure` where the file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                deep = is_deep(image)
                upright = image
                if whole:
                    image.load()
                    upright = ImageOps.exif_transpose(image)
                turned = image.getexif().get(ORIENTATION, 1) in range(2, 9)
                count = getattr(image, "n_frames", 1)
    except UnidentifiedImageError:
        raise Failure(f"{file}: not an image") from None
    except Exception as error:  # Pillow raises whatever the file makes it stumble over
        raise Failure(f"{file}: cannot be read as an image: {first_line(error)}") from None
    if whole and deep and upright.mode[:1] in "IF":
        upright = shallow(file, upright)
    return upright, deep, turned, count


def is_deep(image):
    """Whether an image, not yet loaded, has more than 8 bits a channel.

    Of 16 bits in colour Pillow drops the lower ones itself; grey ones it keeps.
    """
    raw = " ".join(str(tile[3]) for tile in image.tile)
    return image.mode.startswith(("I", "F")) or ";16" in raw


def shallow(file, image):
    """A grey picture of 16 bits a pixel with the upper 8. Raises `Failure` for other numbers."""
    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65535:
        raise Failure(f"{file}: its pixels are no whole numbers of 8 or 16 bits; save it with 8")
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def fitted_colours(file, image, mode, note=say):
    """The image in `mode`, 8 bits a channel; what that changes is printed."""
    stored, image = image.mode, without_alpha(file, image, note)
    if image.mode not in ("1", "L", "P", "RGB"):
        note(file, image.mode, "converted to RGB")
    if image.mode in ("1", "L"):
        if mode == "RGB":
            note(file, "grey", "the same for red, green and blue")
        return image.convert(mode)
    image = image.convert("RGB")
    if mode == "RGB":
        return image
    grey = image.convert("L")
    if stored not in ("LA", "P") or image.tobytes() != grey.convert("RGB").tobytes():
        note(file, "in colour", "converted to grey")
    return grey


def without_alpha(file, image, note=say):
    """A picture that is transparent anywhere lies on white, as most viewers show it."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema()[0] < 255:
        note(file, "transparent in places", "laid on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
