"""Where LibriSpeech lies, and what setting it up adds: a tokenizer and three indexes.

A root has the official layout, `<subset>/<speaker>/<chapter>/<utterance>.flac` with
`<speaker>-<chapter>.trans.txt` beside it, at full and at mini scale.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from algorithmic_efficiency.errors import DataError
from workloads._librispeech import index, tokenizer

TOKENIZER = "tokenizer.model"
Subsets = Mapping[str, tuple[str, ...]]  # split -> the subsets that it joins

SUBSETS: Subsets = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "validation": ("dev-clean", "dev-other"),
    "test": ("test-clean",),
}
# Utterances before long ones are left out: the official transcripts, counted.
UTTERANCES = {"train": 281_241, "validation": 5_567, "test": 2_620}
VOCABULARY_SIZE = 1_024


def complete(root: Path, subsets: Subsets, vocabulary_size: int) -> None:
    """Writes the indexes and trains the tokenizer, where a run would refuse them.

    The tokenizer learns from the first training subset. What is right is not touched.

    Raises:
      DataError: a subset is missing or unreadable.
      StorageError: a file cannot be written.
    """
    for split, names in subsets.items():
        path = index.path_of(root, split)
        rows = list(index.scan(root, names))
        if index.fault(path, names, rows):
            index.write(path, rows)
    try:
        tokenizer.Tokenizer(root / TOKENIZER, vocabulary_size).check()
    except DataError:
        texts = _transcripts(root / subsets["train"][0])
        tokenizer.train(texts, root / TOKENIZER, vocabulary_size)


def _transcripts(subset: Path) -> Iterator[str]:
    """Yields the transcripts of a subset, long ones too, in the order of the names."""
    for chapter in index.chapters(subset):
        rows = index.read_transcripts(chapter)
        yield from filter(index.legible, (rows[name] for name in sorted(rows)))
