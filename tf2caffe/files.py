"""Files: checksums; zip archives (`.npz`, `.keras`), numpy's, checked before they are believed."""

import hashlib
import warnings
import zipfile
import zlib

import numpy as np

from tf2caffe.failure import first_line

# beyond both, what an archive unpacks to is no longer believed
LARGE, TIMES = 1 << 30, 100  # bytes, and how much more than the archive's own


class Damaged(Exception):
    """What is wrong with a file, in a few words."""


def damage(path):
    """What is wrong with the zip archive `path`, or None; every member's checksum is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = _unpacked(archive)
            if size > max(LARGE, TIMES * path.stat().st_size):
                return f"a zip archive that claims to hold {size:,} bytes"
            member = archive.testzip()
    except zipfile.BadZipFile as error:
        return f"not a zip archive, or a damaged one ({str(error).lower()})"
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"a damaged zip archive ({error})"
    return f"a damaged zip archive (wrong checksum of {member!r})" if member else None


def blocks(path, size=1 << 22):
    """What a file holds, a few megabytes at a time."""
    with path.open("rb") as file:
        while block := file.read(size):
            yield block


def checksum(blocks):
    """SHA-256: of one file's blocks, what `sha256sum` prints."""
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def unpacked(path):
    """Bytes that a file holds: a zip archive's members, any other's own."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return _unpacked(archive)


def _unpacked(archive):
    return sum(member.file_size for member in archive.infolist())


def mapped(path):
    """The array of a `.npy` file, mapped into memory. Raises `Damaged`."""
    file = str(path)  # numpy would resolve a Path first
    return _read(lambda: np.lib.format.open_memmap(file, mode="r"))


def arrays(path):
    """The arrays of an `.npz` by name, no code of its own run. Raises `Damaged`."""
    wrong = damage(path)
    if wrong:
        raise Damaged(wrong)

    def read():
        with zipfile.ZipFile(path) as members:
            return {name.removesuffix(".npy"): array(members, name) for name in members.namelist()}

    def array(members, name):
        if not name.endswith(".npy"):
            raise Damaged(f"{name!r} in it is no array")
        with members.open(name) as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    return _read(read)


def save(path, arrays):
    """Write an `.npz` of arrays by name; unlike `np.savez`, whatever they are called."""
    with zipfile.ZipFile(path, "w") as members:
        for name, array in arrays.items():
            with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _read(read):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            return read()
    except (FileNotFoundError, Damaged):
        raise
    except Exception as error:  # numpy raises whatever a header makes it stumble over
        raise Damaged(f"{type(error).__name__}: {first_line(error)}") from None
