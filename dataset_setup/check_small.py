"""Counts the images of CIFAR-10 and MNIST and looks at every one of them."""

from collections.abc import Iterator

from algorithmic_efficiency.definition import Definition

from algorithmic_efficiency.data import BadExample, Examples, Folders
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.text import printable, show
from workloads._images.sets import ImageSet, stored_counts
from workloads._images.small import Element
from workloads.cifar.data import CIFAR
from workloads.cifar.workload import BASE as CIFAR_BASE
from workloads.mnist.data import MNIST
from workloads.mnist.workload import BASE as MNIST_BASE


def cifar(folders: Folders, *, decode: bool) -> int:
    """Prints what was found of CIFAR-10; returns 1 where something is wrong.

    Args:
      folders: where data may lie.
      decode: whether to look at every image, or only at the sizes of files.
    """
    return _check(CIFAR, CIFAR_BASE, folders, decode=decode)


def mnist(folders: Folders, *, decode: bool) -> int:
    """Prints what was found of MNIST; as `cifar`."""
    return _check(MNIST, MNIST_BASE, folders, decode=decode)


def _check(
    images: ImageSet, definition: Definition, folders: Folders, *, decode: bool
) -> int:
    if lost := images.missing(folders.data_dir):
        show(f"There is {lost}.")
        return 1
    whole = True
    shape = definition.fields["inputs"].shape
    element = Element(shape, definition.model["num_classes"])
    for split, count in stored_counts(definition).items():
        try:
            found = images.open(folders.data_dir, split, count, shape)
        except DataError as error:
            show(f"{split}: {error}")
            whole = False
            continue
        folder = images.find(folders.data_dir)
        show(f"{split}: {len(found):,} of {count:,} images in {folder}")
        for line in _bad(found, element) if decode else ():
            show(f"  {printable(line)}")
            whole = False
    return 0 if whole else 1


def _bad(examples: Examples, element: Element) -> Iterator[str]:
    """Yields a line for each image that is not as expected."""
    for number in range(len(examples)):
        try:
            element(examples[number], None)
        except BadExample as error:
            yield str(error)
