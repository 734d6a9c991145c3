"""Zip archives (`.npz`, `.keras`), checked before they are believed."""

import zipfile
import zlib


def damage(path):
    """What is wrong with the zip archive `path`, or None; every member's checksum is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except zipfile.BadZipFile as error:
        return f"not a zip archive, or a damaged one ({str(error).lower()})"
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"a damaged zip archive ({error})"
    return f"a damaged zip archive (wrong checksum of {member})" if member else None
