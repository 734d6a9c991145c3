"""What becomes of an image's pixels before the network takes them, and the same for other tools.

An image is red, green, blue, 0..255, and so are `mean` and `std`, however the network takes it.
"""

from dataclasses import dataclass

import numpy as np

from tf2caffe.failure import Failure

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Preprocessing:
    """(pixels - mean) * scale, or (pixels - mean) / std; blue first with `bgr`.

    `mean` and `std` have one number, or one a channel; None is as good as 0 and 1. `folded`: it is
    a part of the network, which takes the pixels as they are.
    """

    bgr: bool = False
    mean: tuple | None = None
    std: tuple | None = None
    scale: float | None = None
    folded: bool = False

    @classmethod
    def of(cls, bgr=False, mean=None, std=None, scale=None, folded=False):
        """From options. Raises `Failure` where they contradict each other."""
        mean, std = (None if numbers is None else tuple(numbers) for numbers in (mean, std))
        if std is not None and scale is not None:
            raise Failure(_both(mean, std, scale))
        if std is not None and not all(number > 0 for number in std):
            raise Failure("--std must be greater than 0: the pixels are divided by it")
        return cls(bgr, mean, std, scale, folded)

    @property
    def given(self):
        """Whether there is anything to be done."""
        return self != Preprocessing(folded=self.folded)

    def check(self, name, channels):
        """Raise `Failure` where an input of so many channels cannot be prepared like this."""
        if channels not in (1, 3):
            raise Failure(f"input {name} has {channels} channels, an image 1 or 3; use --input")
        for option in ("mean", "std"):
            numbers = getattr(self, option)
            if numbers is not None and len(numbers) not in (1, channels):
                told = f"--{option} has {len(numbers)} numbers, the input {channels} channels"
                raise Failure(told)
        if self.bgr and channels == 1:
            raise Failure(f"--bgr does nothing here: input {name} has one channel")

    def steps(self):
        """What is done to pixels in red, green, blue, in order: (name, float32 numbers)."""
        if self.mean is not None:
            yield "mean", np.float32(self.mean)
        if self.std is not None:
            yield "std", np.float32(self.std)
        if self.scale is not None:
            yield "scale", np.float32([self.scale])
        if self.bgr:
            yield "bgr", None

    def apply(self, pixels):
        """Pixels (N, H, W, C) as the network, or the model within it, takes them, float32."""
        pixels = np.asarray(pixels, np.float32)
        for name, numbers in self.steps():
            pixels = STEPS[name](pixels, numbers)
        return np.ascontiguousarray(pixels, np.float32)

    def of_channels(self, channels):
        """(means, divisors) of the channels, in the order in which the network takes them."""
        mean = np.broadcast_to(self.mean or 0.0, channels)
        std = self.std or (1 / self.scale if self.scale else 1.0)
        std = np.broadcast_to(std, channels)
        order = slice(None, None, -1 if self.bgr else 1)
        return [[float(f"{x:.9g}") for x in numbers[order]] for numbers in (mean, std)]

    def formula(self, channels):
        """In a line, in the order of the images."""
        text = "pixels of 0..255"
        if self.mean is not None:
            text = f"({text} - {_listed(self.mean)})"
        if self.std is not None:
            text += f" / {_listed(self.std)}"
        if self.scale is not None:
            text += f" * {self.scale:.9g}"
        order = ("grey",) if channels == 1 else COLOURS
        if channels == 1:
            return text
        then = f"; then {', '.join(order[::-1])}" if self.bgr else ""
        return f"{text}, in the order {', '.join(order)}{then}"

    def line(self, channels):
        """In a line, for whoever feeds the network."""
        if self.folded:
            told = self.formula(channels)
            return f"none: the network takes pixels of 0..255, and computes {told}"
        return self.formula(channels)

    def record(self, blob, channels):
        """As parity.json and the report have it."""
        order = "grey" if channels == 1 else "BGR" if self.bgr and not self.folded else "RGB"
        return {
            "order": order,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "scale": self.scale,
            "bgr": self.bgr,
            "folded": self.folded,
            "formula": self.line(channels),
            "snippets": self.snippets(blob, channels),
        }

    def snippets(self, blob, channels):
        """What to write in other tools, {tool: text}."""
        left = Preprocessing() if self.folded else self
        mean, std = left.of_channels(channels)
        swap = left.bgr
        return {
            "RKNN-Toolkit2": _rknn(mean, std, swap),
            "OpenVINO": _openvino(blob, mean, std, swap),
            "Caffe": _caffe(mean, std, "blue, green, red" if swap else "red, green, blue"),
        }


def _both(mean, std, scale):
    """Why --std and --scale do not go together, and what to write instead."""
    told = "--std and --scale contradict each other: --std divides pixels of 0..255"
    if scale < 1:
        wide = [f"--std {','.join(f'{number / scale:.7g}' for number in std)}"]
        if mean:
            wide.insert(0, f"--mean {','.join(f'{number / scale:.7g}' for number in mean)}")
        told += f"; for (pixels * scale - mean) / std, write {' '.join(wide)} and no --scale"
    return told


def _listed(numbers):
    text = ", ".join(f"{number:.9g}" for number in numbers)
    return text if len(numbers) == 1 else f"[{text}]"


def _rknn(mean, std, swap):
    """The mean is subtracted after the channels have changed places."""
    turn = ", quant_img_RGB2BGR=True" if swap else ""
    note = "  # of the images for quantisation; on the chip, give it blue first" if swap else ""
    return f"rknn.config(mean_values=[{mean}], std_values=[{std}]{turn}){note}"


def _openvino(blob, mean, std, swap):
    """The channels change places first; the numbers are in the network's order."""
    turn = " --reverse_input_channels" if swap else ""
    values = [f"{blob}[{','.join(f'{number:.9g}' for number in one)}]" for one in (mean, std)]
    return f'mo --mean_values "{values[0]}" --scale_values "{values[1]}"{turn}'


def _caffe(mean, std, order):
    """One factor for all channels."""
    if len(set(std)) > 1:
        return (
            "# transform_param has one scale for all channels, and this network one for each:\n"
            "# --fold-preprocessing makes them a part of the network"
        )
    values = " ".join(f"mean_value: {number:.9g}" for number in mean)
    note = f"# for images whose channels come {order}\n" if len(mean) == 3 else ""
    return f"{note}transform_param {{ scale: {1 / std[0]:.9g} {values} }}"


STEPS = {
    "mean": lambda pixels, numbers: pixels - numbers,
    "std": lambda pixels, numbers: pixels / numbers,
    "scale": lambda pixels, numbers: pixels * numbers,
    "bgr": lambda pixels, _: pixels[..., ::-1],
}
