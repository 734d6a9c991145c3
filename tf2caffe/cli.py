"""How every script starts and ends: its options, its one-line errors, its exit status.

A script imports slow modules in its `main`, which `run` calls: so Ctrl-C gives one line even while
they are imported.
"""

import contextlib
import errno
import functools
import os
import signal
import sys
from math import isfinite
from pathlib import Path

import tf2caffe
from tf2caffe.failure import Failure, first_line, plain
from tf2caffe.nearby import MODELS


def run(main, script=None):
    """Call `main()`; a `Failure`, a system error or Ctrl-C becomes one line and exit status 1.

    `script` is what such a line begins with. The settings of the process are restored after.
    """
    script = script or Path(sys.argv[0]).name
    with _settings() as interrupted:
        try:
            main()
            sys.stdout.flush()
        except Failure as failure:
            sys.exit(f"{script}: {plain(str(failure))}")
        except BrokenPipeError:  # the reader of our output (`| head`) has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (Exception, KeyboardInterrupt) as error:
            line = _line(error, interrupted)
            if line is None:
                raise
            sys.exit(f"{script}: {line}")


def _line(error, interrupted):
    """The line for an error that is no `Failure`; None for a mistake of ours."""
    if interrupted:  # an import may make another error of it
        return "interrupted; files that were complete before are still complete"
    if isinstance(error, MemoryError):
        return f"not enough memory ({first_line(error)}); take a smaller network or input"
    if isinstance(error, ModuleNotFoundError) and error.name in NEEDED:
        return f"{error.name} is not installed in {sys.executable}; {INSTALL}"
    if isinstance(error, OSError) and error.errno is not None:
        return plain(_of_system(error))
    return None


def _of_system(error):
    """An operating system's error in one line that names the file and says what to do."""
    advice = {
        errno.ENOSPC: "free some space, or choose another folder with --dir",
        errno.EROFS: "choose a folder that can be written with --dir",
        errno.EACCES: "check the permissions, or choose another folder with --dir",
    }
    name = f"{error.filename}: " if error.filename else ""
    hint = advice.get(error.errno)
    return f"{name}{error.strerror}" + (f"; {hint}" if hint else "")


@contextlib.contextmanager
def _settings():
    """Settings of the process for a script; yields a list that Ctrl-C makes true."""
    interrupted = []

    def interrupt(number, frame):
        interrupted.append(number)
        raise KeyboardInterrupt

    former = signal.getsignal(signal.SIGINT)
    streams = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr)]
    try:
        if former is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, interrupt)
        for stream, _ in streams:
            stream.reconfigure(errors="backslashreplace")  # a file's name may have any letters
        yield interrupted
    finally:
        for stream, errors in streams:
            stream.reconfigure(errors=errors)
        signal.signal(signal.SIGINT, former)


def parser(doc):
    """An argument parser: the script's docstring as help, and the options all scripts share."""
    from tf2caffe.parser import Parser, argparse

    name = Path(sys.argv[0]).name
    summary = Parser(
        prog="tf2caffe" if name == "__main__.py" else name,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    summary.add_argument(
        "--dir", "--out", type=folder, default=Path("."), metavar="DIR",
        help="root of every hand-off folder (default: the current directory)",
    )  # fmt: skip
    summary.add_argument("--version", action="version", version=f"tf2caffe {tf2caffe.__version__}")
    return summary


def add_name(parser):
    """The network's name, of the steps that read what others wrote; `find_name` reads it."""
    parser.add_argument(
        "name", nargs="?", default="mnistcls",
        help="its name, the model's file, or one of its files in nets/ (default: %(default)s)",
    )  # fmt: skip


def find_name(args):
    """Replace a path in `args.name` by the network's name, and set `dir` and `deploy` by it.

    A model's file stands for the name that steps 3 and 4 give it, a file in nets/ for its network.
    Raises `Failure` where --dir names another folder than the path.
    """
    path, files = Path(args.name), (".prototxt", ".caffemodel", ".blobs.json", ".parity.json")
    suffix = next((end for end in files if path.name.endswith(end)), None)
    if suffix is None:
        if path.suffix in MODELS or (len(path.parts) > 1 and path.is_dir()):
            args.name = path.stem
        elif {"/", os.sep} & {*args.name}:
            known = f"this step takes the name of a network, such as {path.stem}"
            raise Failure(f"{args.name} is a path; {known}, its model, or its prototxt")
        return
    name = path.name.removesuffix(suffix)
    args.name = name.removesuffix(".deploy")
    if name != args.name and hasattr(args, "deploy"):
        args.deploy = True
    _set_folder(args, path)


def _set_folder(args, path):
    """A file of DIR/nets tells DIR."""
    folder = path.absolute().parent
    if folder.name != "nets":
        told = f"{path} is not in a folder called nets, as the files of build_caffe.py are"
        raise Failure(f"{told}; give the network's name, and --dir")
    if args.dir != Path(".") and args.dir.absolute() != folder.parent:
        raise Failure(f"{path} and --dir {args.dir} name two folders; give one of them")
    args.dir = path.parent.parent if len(path.parts) > 1 else folder.parent


def add_model(parser, **default):
    """The arguments of the steps that read a TensorFlow model; `model_options` collects them."""
    add = parser.add_argument
    kinds = "a .keras, .h5 or .tflite file, a SavedModel folder, a frozen .pb, a checkpoint's .meta"
    if default:
        kinds = f"a network of models/, or your own: {kinds} (default: %(default)s)"
    add("model", **default, help=kinds)
    add("--name", help="the network's name, which the files get (default: the file's stem)")
    add(
        "--shape", type=shape, action="append", metavar="[NAME=]1,H,W,C",
        help="the input's shape, if it is open; of several inputs, each with its name",
    )  # fmt: skip
    add("--custom", type=Path, metavar="FILE.py", help="run this first, to register custom layers")
    add("--weights", type=Path, metavar="FILE", help="of a .json, which is a model without them")
    add(
        "--set", type=switch, action="append", metavar="NAME=VALUE", dest="switches",
        help="true, false or a number, for what else a graph is fed, such as whether it is trained",
    )  # fmt: skip
    add("--signature", help="one of a SavedModel or .tflite (default: serving_default or the only)")
    add("--inputs", type=names, metavar="A,B", help="ops or layers behind which the network begins")
    add("--outputs", type=names, metavar="C,D", help="ops or layers with which it ends")
    add("--dequantise", action="store_true", help="take a quantised .tflite as floats")


def model_options(args):
    """The options of `add_model` as `source.open_model` and `convert` take them."""
    taken = ("name", "custom", "weights", "signature", "inputs", "outputs", "dequantise")
    given = {name: getattr(args, name) for name in taken}
    switches = dict(args.switches) if args.switches else None
    return {"folder": args.dir, "shape": shapes(args.shape), "switches": switches} | given


def add_input(parser):
    """The options for the network's input; `input_options` collects them."""
    parser.add_argument(
        "--images", type=Path, metavar="PATH", help="an image or a folder of images"
    )
    add_preprocessing(parser)
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help=".npy (N, ...) or .npz, as the model reads it"
    )


def add_preprocessing(parser):
    """The options of what is done to images first; `preprocessing` collects them."""
    add = parser.add_argument
    add("--bgr", action="store_true", help="put the image's channels in the order blue, green, red")
    add("--mean", type=numbers, metavar="R,G,B", help="subtract this mean first (default: 0)")
    add("--std", type=numbers, metavar="R,G,B", help="then divide by this")
    add("--scale", type=factor, help="or multiply by this factor, such as 1/255 (default: 1)")
    add(
        "--fold-preprocessing", action="store_true",
        help="make that a part of the network, which then takes red, green, blue of 0..255",
    )  # fmt: skip


def preprocessing(args):
    """The options of `add_preprocessing` as one. Raises `Failure` where they contradict."""
    from tf2caffe.graph.preprocessing import Preprocessing

    given = {name: getattr(args, name) for name in ("bgr", "mean", "std", "scale")}
    return Preprocessing.of(**given, folded=args.fold_preprocessing)


def input_options(args):
    """The options of `add_input` as `inputs.load` takes them."""
    return {"data": args.input, "images": args.images, "preprocessing": preprocessing(args)}


def add_layers(parser):
    """The option that chooses the layers to draw."""
    from tf2caffe.pictures.layers import DRAWN

    parser.add_argument(
        "--layers", metavar="A,B*", type=names,
        help=f"the layers to draw, * for any letters (default: all; of more than {DRAWN}, some)",
    )  # fmt: skip


def add_forms(parser):
    """The options for what is built; `form_options` collects them."""
    from tf2caffe.caffe import targets

    add = parser.add_argument
    add(
        "--prototxt", type=Path, metavar="FILE",
        help="a network written by hand: load the saved weights into it, by layer name",
    )  # fmt: skip
    add(
        "--deploy", action="store_true",
        help="also build the form for chips: layers folded, activations in place, the same outputs",
    )  # fmt: skip
    add(
        "--output-order", choices=("tensorflow", "caffe"),
        help="the order of the elements of an output that is not an image: TensorFlow's (default), "
        "or Caffe's, which adds no layers",
    )  # fmt: skip
    add(
        "--target", choices=(*targets.TARGETS, "list"), metavar="NAME",
        help="the tool that will read the network: Caffe layers are chosen for it, what it does "
        "not take is refused (default: portable; list prints all targets)",
    )  # fmt: skip
    add(
        "--allow-cost", action="store_true",
        help="build also what takes much more weights, multiply-adds or memory than TensorFlow's",
    )  # fmt: skip


def form_options(args):
    """The options of `add_forms` as `forms.build` and `convert` take them."""
    taken = ("target", "deploy", "output_order", "prototxt", "allow_cost")
    return {name: getattr(args, name) for name in taken}


def add_proof(parser):
    """The options of the comparison; `runtimes.choose` takes the last three."""
    from tf2caffe.proof import runtimes, verdict

    parser.add_argument(
        "--tolerance", type=positive, default=verdict.TOLERANCE,
        help="largest error of a layer, relative to its largest value (default: %(default)g; "
        "docs/proof.md says what a layer may inherit from those before it)",
    )  # fmt: skip
    runtimes.add_arguments(parser)


def folder(text):
    """A folder, which need not be there; nothing on the way to it is a file."""
    path = Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise _not_taken(f"{part} is a file, not a folder")
    return path


def _not_taken(line):
    from argparse import ArgumentTypeError

    return ArgumentTypeError(line)


def told(what):
    """Let argparse tell what is taken, where the decorated function raises `ValueError`."""

    def decorate(read):
        @functools.wraps(read)
        def value(text):
            try:
                return read(text)
            except ValueError:
                raise _not_taken(f"{text!r} is not {what}") from None

        return value

    return decorate


@told("sizes between commas, the batch first, such as 1,224,224,3")
def shape(text):
    """(an input's name or None, positive whole numbers between commas, the batch first)."""
    name, _, sizes = text.rpartition("=")
    sizes = [int(size) for size in sizes.split(",")]
    if min(sizes) < 1:
        raise ValueError
    return name or None, sizes


def shapes(given):
    """What --shape says, each time that it is given: one shape, or {input's name: its shape}."""
    if not given:
        return None
    if len(given) == 1 and given[0][0] is None:
        return given[0][1]
    if any(name is None for name, _ in given):
        raise Failure("--shape: give each of several inputs with its name, NAME=1,H,W,C")
    return dict(given)


@told("NAME=true, NAME=false or NAME=NUMBER")
def switch(text):
    """(a name, true, false or a number)."""
    name, _, value = text.partition("=")
    if not name:
        raise ValueError
    known = {"true": True, "false": False}
    return name, known[value.lower()] if value.lower() in known else number(value)


@told("names between commas, such as A,B")
def names(text):
    """Names between commas, at least one."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise ValueError
    return found


@told("a finite number")
def number(text):
    """A number that is finite."""
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


@told("a number greater than 0")
def positive(text):
    """A finite number greater than 0."""
    value = number(text)
    if value <= 0:
        raise ValueError
    return value


@told("a number other than 0")
def factor(text):
    """A finite number other than 0, or a fraction such as 1/255."""
    above, _, below = text.partition("/")
    value = number(above) / (number(below) if below else 1)
    if value == 0 or not isfinite(value):
        raise ValueError
    return value


def numbers(text):
    """Finite numbers between commas."""
    return [number(part) for part in text.split(",")]


# What a Python that is not the project's lacks.
NEEDED = ("cv2", "google", "h5py", "keras", "matplotlib", "numpy", "PIL", "tensorflow", "tqdm")
INSTALL = "activate the environment that has it, or pip install -r requirements.txt"
