"""Whether all splits of ImageNet have the same classes, and as many as they should."""

from collections.abc import Sequence

from workloads._images.classes import NUMBER, WNID, Classes, shown


def are_official(names: Sequence[str]) -> bool:
    """Whether names of class folders are wnids, or numbers as in ImageNet-v2."""
    return bool(names) and bool(WNID.fullmatch(names[0]) or NUMBER.fullmatch(names[0]))


def fault(split: str, found: Classes, count: int, train: Classes | None) -> str:
    """Says what is wrong with the classes of a split; '' where nothing is.

    Args:
      split: 'train', 'validation' or 'test'.
      found: its classes.
      count: how many the workload has.
      train: the classes of the training images, where they are known.
    """
    why = ""
    if any(map(NUMBER.fullmatch, found.names)):
        why = _numbers_fault(split, found.names, count)
    elif train is not None and found.names != train.names:
        why = _difference(found, train)
    elif len(found.names) != count:
        why = f"has {len(found.names)} class folders, expected {count}"
    if not why:
        return ""
    without = f" (left out: {shown(found.left_out)})" if found.left_out else ""
    return f"The {split} split in {found.folder} {why}{without}."


def _numbers_fault(split: str, names: Sequence[str], count: int) -> str:
    """Says why folders that are named by number are not the classes of a split."""
    if split != "test":
        return (
            f"names its classes by number ({names[0]} to {names[-1]}), expected wnids "
            "such as n01440764, because the devkit's numbers have another order. "
            "Remove the folder and unpack the images by `python -m dataset_setup "
            "imagenet --val_tar=FILE --val_labels=FILE`, or rename each class folder "
            "to the wnid that the devkit's meta.mat gives for its number"
        )
    wanted = [str(number) for number in range(count)]
    if names == wanted:
        return ""
    return (
        f"names its classes by number, expected 0 to {count - 1} as in ImageNet-v2: "
        + _parts(set(wanted) - set(names), set(names) - set(wanted))
    )


def _difference(found: Classes, train: Classes) -> str:
    """Says in what two sets of classes differ."""
    lost, more = (
        set(train.names) - set(found.names),
        set(found.names) - set(train.names),
    )
    return f"has other classes than the training images in {train.folder}: " + _parts(
        lost, more
    )


def _parts(lost: set[str], more: set[str]) -> str:
    """Names what is missing and what is too much."""
    parts = [f"{shown(sorted(lost))} missing" if lost else ""]
    parts += [f"{shown(sorted(more))} too many" if more else ""]
    return ", ".join(filter(None, parts))
