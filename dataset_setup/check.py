"""Counts the images of ImageNet and decodes every one of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from algorithmic_efficiency.data import BadExample, Examples, Folders
from workloads._imagenet import images
from workloads._imagenet.data import find_split, open_full
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
        expected = getattr(BASE, f"num_{split}_examples")
        folder = find_split(folders, split)
        if folder is None:
            print(f"{split}: not found, expected {expected:,} images")
            whole = False
            continue
        examples = open_full(folders, split)
        print(f"{split}: {len(examples):,} of {expected:,} images in {folder}")
        bad = list(_broken(examples)) if decode else []
        for line in bad:
            print(f"  {line}")
        whole = whole and len(examples) == expected and not bad
    return 0 if whole else 1


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
        images.decode(images.encoded(example), example.name)
    except BadExample as error:
        return str(error)
    return ""
