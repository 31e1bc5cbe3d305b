"""Finds and opens the splits of a speech workload, at full and at mini scale."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from algorithmic_efficiency.data import DataFlag, Dataset, Examples, Folders, Subset
from algorithmic_efficiency.definition import Definition
from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import readable
from workloads._librispeech import index, layout, mini
from workloads._librispeech.reading import Element, Finish
from workloads._librispeech.tokenizer import Tokenizer

_TOKENIZER = "librispeech_tokenizer_vocab_path"
FLAGS = {
    _TOKENIZER: DataFlag(
        "SentencePiece model of the transcripts, where another one than that in "
        "--data_dir is meant.",
        default="",
    )
}
PREPARE = "python -m dataset_setup librispeech --data_dir=DIR"
EVAL_TRAIN_SEED = 5_376  # any constant: which training utterances evaluation hears


@readable()
def missing(definition: Definition, folders: Folders) -> str | None:
    """Says what was not found and where; None when all data are there."""
    if definition.data_arguments["source"] == "mini":
        return None
    root = find_root(folders.data_dir)
    lost = [s for s in layout.SUBSETS if not index.path_of(root, s).is_file()]
    if lost:
        return f"there is no index of LibriSpeech's {', '.join(lost)} split in {root}"
    path = find_tokenizer(folders, root)
    return None if path.is_file() else f"there is no tokenizer {path}"


def find_root(data_dir: Path) -> Path:
    """Returns the folder of the subsets, in `data_dir` or in `LibriSpeech` below it."""
    first = layout.SUBSETS["train"][0]
    return data_dir if (data_dir / first).is_dir() else data_dir / "LibriSpeech"


@readable()
def open_split(definition: Definition, folders: Folders, split: str) -> Dataset:
    """Opens a split: 'train', 'eval_train', 'validation' or 'test'.

    'eval_train' is a part of the training utterances that is the same in every run.
    What is evaluated is sorted by length, the longest first, which saves padding.

    `data_arguments` of the definition are `source` ('librispeech' or 'mini'),
    `vocabulary_size`, and `buckets`, the lengths in samples that a batch may have.

    Raises:
      DataError: data are missing, changed since they were indexed, or more or fewer
        than published; or the tokenizer is another one.
      StorageError: the mini corpus cannot be written.
    """
    arguments = definition.data_arguments
    if arguments["source"] == "mini":
        root, subsets = mini.prepare(folders.data_dir), mini.SUBSETS
        advice = f"Remove the folder {root}; the next run unpacks it anew."
    else:
        root, subsets = find_root(folders.data_dir), layout.SUBSETS
        advice = advice_of(folders)
    with _advised(advice):
        examples = _indexed(definition, root, subsets, split)
    tokenizer = Tokenizer(find_tokenizer(folders, root), arguments["vocabulary_size"])
    with _advised(tokenizer_advice(folders) or advice):
        tokenizer.check()
    sizes = (definition.fields[name][0].shape[0] for name in ("inputs", "targets"))
    element = Element(tokenizer, *sizes)
    finish = Finish(arguments["buckets"])
    return Dataset(examples, element, finish, tokenizer=tokenizer)


def find_tokenizer(folders: Folders, root: Path) -> Path:
    """Returns the tokenizer that was asked for, or the one beside the data."""
    return folders.option(_TOKENIZER) or root / layout.TOKENIZER


def advice_of(folders: Folders) -> str:
    """Returns what to do about a fault of the full data."""
    command = f"python -m dataset_setup librispeech --data_dir={folders.data_dir}"
    return f"`{command}` mends it or says what is missing."


def tokenizer_advice(folders: Folders) -> str:
    """Returns what to do about a tokenizer that was asked for; '' where none was."""
    if folders.option(_TOKENIZER) is None:
        return ""
    return f"Name another one by --{_TOKENIZER}, or none."


@contextlib.contextmanager
def _advised(advice: str) -> Iterator[None]:
    """Adds to an error about data what to do."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} {advice}") from error


def _indexed(
    definition: Definition, root: Path, subsets: layout.Subsets, split: str
) -> Examples:
    """Returns the utterances of a split; the index must be up to date and complete."""
    part = "train" if split == "eval_train" else split
    path = index.path_of(root, part)
    examples = index.Indexed(path)
    if changed := index.stale(path, subsets[part]):
        raise DataError(changed)
    expected = getattr(definition, f"num_{part}_examples")
    found = len(examples)
    if not found - examples.unknown <= expected <= found:
        raise DataError(
            f"The {part} split of {definition.name} in {root} has {found} utterances, "
            f"expected {expected}; a score on other data would not be one."
        )
    if split == "train":
        return examples
    if split == "eval_train":
        count = definition.num_eval_train_examples
        return index.ByLength(Subset(examples, count, EVAL_TRAIN_SEED))
    return index.ByLength(examples)
