"""Downloads CIFAR-10 and MNIST, or takes their official archives from a folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.files import atomic
from dataset_setup import check_small, download, unpack
from dataset_setup.download import Archive
from workloads.cifar.data import CIFAR
from workloads.mnist.data import MNIST

_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist"

# Addresses, sizes and sums as tensorflow-datasets 4.9.10 publishes them
# (url_checksums/cifar10.txt and mnist.txt).
CIFAR_ARCHIVE = Archive(
    "cifar-10-binary",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "https://www.cs.toronto.edu/~kriz",
)
MNIST_ARCHIVES = tuple(
    Archive(name, size, sha256, _MNIST_URL, ".gz")
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
)


def cifar(data_dir: Path, given: Sequence[Path]) -> int:
    """Completes CIFAR-10, then shows what was found; returns the exit code.

    Args:
      data_dir: it comes to lie in `cifar` below it, unless it is there already.
      given: folders in which the archive may lie.

    Raises:
      DataError, StorageError: as `download.download` and `unpack.cifar`.
    """
    if CIFAR.missing(data_dir):
        root = data_dir / "cifar"
        ((archive, path),) = _fetch([CIFAR_ARCHIVE], given, root)
        unpack.cifar(path, root / "cifar-10-batches-bin")
        download.remove(archive, root)
    return check_small.cifar(Folders(data_dir), decode=False)


def mnist(data_dir: Path, given: Sequence[Path]) -> int:
    """Completes MNIST in `mnist` below `data_dir`; else as `cifar`."""
    if MNIST.missing(data_dir):
        root = data_dir / "mnist"
        absent = [a for a in MNIST_ARCHIVES if not (root / a.file_name).is_file()]
        fetched = _fetch(absent, given, root)
        root.mkdir(parents=True, exist_ok=True)
        for archive, path in fetched:
            with atomic(root / archive.file_name, "Give another --data_dir.") as made:
                shutil.copyfile(path, made)
            download.remove(archive, root)
    return check_small.mnist(Folders(data_dir), decode=False)


def _fetch(
    archives: Sequence[Archive], given: Sequence[Path], root: Path
) -> list[tuple[Archive, Path]]:
    """Returns archives and where they lie, downloaded unless they were given."""
    for folder in given:
        if not folder.is_dir():
            raise UsageError(
                f"--archives={folder} is no folder; expected one with "
                f"{archives[0].file_name}."
            )
    found = {archive: download.find(archive, given) for archive in archives}
    lost = [archive for archive, path in found.items() if path is None]
    download.announce(lost, archives, root)
    for archive, path in found.items():
        if path is None:
            found[archive] = download.download(archive, root)
        else:
            download.verify(archive, path)
    return [(archive, path) for archive, path in found.items() if path is not None]
