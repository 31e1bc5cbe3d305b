"""Counts the utterances of LibriSpeech and decodes every one of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.text import printable, show
from workloads._librispeech import index, layout
from workloads._librispeech.data import (
    advice_of,
    find_root,
    find_tokenizer,
    tokenizer_advice,
)
from workloads._librispeech.reading import damage
from workloads._librispeech.scale import FULL
from workloads._librispeech.tokenizer import Tokenizer


def librispeech(folders: Folders, *, decode: bool) -> int:
    """Prints what was found of each split; returns 1 where something is wrong.

    Args:
      folders: where data may lie.
      decode: whether to decode every file, compare its sound with the MD5 sum in its
        header and its transcript with the tokenizer, which takes minutes; else only
        headers are read.
    """
    root = find_root(folders.data_dir)
    tokenizer = Tokenizer(find_tokenizer(folders, root), layout.VOCABULARY_SIZE)
    whole = True
    try:
        tokenizer.check()
    except DataError as error:
        show(f"tokenizer: {error} {tokenizer_advice(folders) or advice_of(folders)}")
        whole, decode = False, False
    for split, subsets in layout.SUBSETS.items():
        absent = [name for name in subsets if not (root / name).is_dir()]
        if absent:
            show(f"{split}: {', '.join(absent)} not found in {root}")
            whole = False
            continue
        try:
            whole = _split(folders, split, tokenizer if decode else None) and whole
        except DataError as error:
            show(f"{split}: {error}")
            whole = False
    return 0 if whole else 1


def _split(folders: Folders, split: str, tokenizer: Tokenizer | None) -> bool:
    """Prints what was found of one split; says whether all of it is as published."""
    root, subsets = find_root(folders.data_dir), layout.SUBSETS[split]
    rows = list(index.scan(root, subsets))
    found = len(rows), sum(row.fits for row in rows)
    expected = layout.UTTERANCES[split], FULL[f"num_{split}_examples"]
    show(
        f"{split}: {found[0]:,} of {expected[0]:,} utterances in {root}, of which "
        f"{found[1]:,} of {expected[1]:,} are short enough"
    )
    faults = list(_faults(root, rows, tokenizer))
    if fault := index.fault(index.path_of(root, split), subsets, rows):
        faults.insert(0, f"{fault} {advice_of(folders)}")
    for fault in faults:
        show(f"  {printable(fault)}")
    return found == expected and not faults


def _faults(
    root: Path, rows: list[index.Row], tokenizer: Tokenizer | None
) -> Iterator[str]:
    """Yields a line for each utterance that cannot be used, in order."""

    def fault(row: index.Row) -> str:
        why = row.why
        if not why and tokenizer is not None:
            unknown = tokenizer.unknown(row.transcript)
            strange = f"has {unknown!r} in its transcript, which the tokenizer lacks"
            why = strange if unknown else damage(root / row.path)
        return f"{root / row.path}: {why}" if why else ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from filter(None, pool.map(fault, rows))
