"""How every script starts and ends: its arguments, its one-line errors, its exit status."""

import argparse
import errno
import os
import signal
import sys
from math import isfinite
from pathlib import Path

from tf2caffe.failure import Failure, first_line, plain


def parser(doc):
    """An argument parser: the script's docstring as help, and the options all stages share."""
    summary = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    summary.add_argument(
        "--dir", type=Path, default=Path("."), metavar="DIR",
        help="root of every hand-off folder (default: the current directory)",
    )  # fmt: skip
    return summary


def run(main):
    """Call `main()`; a `Failure`, a system error or Ctrl-C becomes one line and exit status 1."""
    script = Path(sys.argv[0]).name
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # files may be called anything
    try:
        main()
        sys.stdout.flush()
    except Failure as failure:
        sys.exit(f"{script}: {plain(str(failure))}")
    except KeyboardInterrupt:
        sys.exit(f"{script}: interrupted; files that were complete before are still complete")
    except MemoryError as error:
        sys.exit(
            f"{script}: not enough memory ({first_line(error)}); take a smaller network or input"
        )
    except BrokenPipeError:  # the reader of our output (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        sys.exit(f"{script}: {plain(told(error))}")


def told(error):
    """An operating system's error in one line that names the file and says what to do."""
    advice = {
        errno.ENOSPC: "free some space, or choose another folder with --dir",
        errno.EROFS: "choose a folder that can be written with --dir",
        errno.EACCES: "check the permissions, or choose another folder with --dir",
    }
    name = f"{error.filename}: " if error.filename else ""
    hint = advice.get(error.errno)
    return f"{name}{error.strerror}" + (f"; {hint}" if hint else "")


def add_model(parser):
    """The arguments of the steps that read a TensorFlow model."""
    add = parser.add_argument
    add(
        "model", nargs="?", default="mnistcls",
        help="a network of models/, or your own: a .keras or .h5 file, a SavedModel folder, a "
        "frozen .pb, the .meta of a TF1 checkpoint (default: %(default)s)",
    )  # fmt: skip
    add("--name", help="what to call it (default: the file's stem)")
    add("--shape", type=shape, metavar="1,H,W,C", help="the input's size, where it is not fixed")
    add("--custom", type=Path, metavar="FILE.py", help="run this first: it registers custom layers")
    add("--signature", help="of a SavedModel (default: serving_default, or the only one)")
    add("--inputs", type=names, metavar="A,B", help="ops of a .pb or .meta (default: found)")
    add("--outputs", type=names, metavar="C,D", help="ops of a .pb or .meta (default: found)")


def shape(text):
    """Positive whole numbers between commas, the batch first."""
    sizes = [int(size) for size in text.split(",")]
    if min(sizes) < 1:
        raise ValueError
    return sizes


def names(text):
    """Names between commas, at least one."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ValueError
    return found


def number(text):
    """A number that is finite."""
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


def positive(text):
    """A finite number greater than 0."""
    value = number(text)
    if value <= 0:
        raise ValueError
    return value


def factor(text):
    """A finite number other than 0."""
    value = number(text)
    if value == 0:
        raise ValueError
    return value


def numbers(text):
    """Finite numbers between commas."""
    return [number(part) for part in text.split(",")]


def refuse_idle(args, needed, *options):
    """Raise `Failure` where one of these options is given, for want of what it is `needed` for."""
    for option in options:
        if getattr(args, option, None) not in (None, False):
            raise Failure(f"--{option.replace('_', '-')} does nothing here: {needed}")
