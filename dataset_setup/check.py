"""Counts the images of ImageNet and decodes every one of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from algorithmic_efficiency.data import BadExample, Examples, Folders
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.text import printable, show
from workloads._imagenet.data import class_faults, find_split, left_out_of, open_full
from workloads._images import images
from workloads.imagenet_resnet.workload import BASE

_CHUNK = 1_000  # examples handed to the threads at once


def imagenet(folders: Folders, *, decode: bool) -> int:
    """Prints what was found of each split; returns 1 where something is wrong.

    Args:
      folders: where data may lie.
      decode: whether to decode every image, which takes minutes, or only count them.
    """
    whole = True
    for split in ("train", "validation", "test"):
        try:
            whole = _split(folders, split, decode=decode) and whole
        except DataError as error:
            show(f"{split}: {error}")
            whole = False
    return 0 if whole else 1


def _split(folders: Folders, split: str, *, decode: bool) -> bool:
    """Prints what was found of one split; says whether all of it is as published."""
    expected = getattr(BASE, f"num_{split}_examples")
    if find_split(folders, split) is None:
        show(f"{split}: not found, expected {expected:,} images")
        return False
    source = open_full(folders, split)
    show(f"{split}: {len(source):,} of {expected:,} images in {source.folder}")
    if left_out := left_out_of(source):
        show(f"  {left_out}")
    wrong = list(class_faults(BASE, split, source, find_split(folders, "train")))
    bad = list(_broken(source)) if decode else []
    for line in (*wrong, *bad):
        show(f"  {printable(line)}")
    return len(source) == expected and not wrong and not bad


def _broken(examples: Examples) -> Iterator[str]:
    """Yields a line for each image that cannot be decoded, in order."""

    def lines(first: int) -> list[str]:
        numbers = range(first, min(first + _CHUNK, len(examples)))
        return [why for number in numbers if (why := _damage(examples, number))]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in pool.map(lines, range(0, len(examples), _CHUNK)):
            yield from chunk


def _damage(examples: Examples, number: int) -> str:
    """Says what is wrong with one image; '' where nothing is."""
    example = examples[number]
    try:
        images.check_class(example, BASE.model["num_classes"])
        images.decode(images.encoded(example), example.name)
    except BadExample as error:
        return str(error)
    return ""
