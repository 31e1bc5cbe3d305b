"""The SentencePiece tokenizer of the transcripts: how it is trained and used.

A unigram model that covers all characters, trained on the transcripts of
train-clean-100; no begin of sentence, but an end of sentence after every transcript.
Its number 0 is <unk>, which never occurs in a target and is the blank of CTC.
"""

import dataclasses
import functools
import importlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from algorithmic_efficiency.errors import DataError
from algorithmic_efficiency.files import atomic, read_bytes

MAX_CHARACTERS = 10_000_000  # of transcripts, that a tokenizer is trained on
_MOST_BYTES = 64 << 20  # of a model


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """A trained tokenizer; the file is read at first use, in each process anew.

    Attributes:
      path: of the SentencePiece model.
      size: its vocabulary, control pieces included.
    """

    path: Path
    size: int

    def encode(self, text: str) -> list[int]:
        """Returns the numbers of a text's pieces and, last, of the end of sentence."""
        numbers: list[int] = self._processor.encode(text, add_eos=True)
        return numbers

    def unknown(self, text: str) -> str:
        """Returns the characters of a text that are in no piece."""
        processor = self._processor
        if processor.unk_id() not in processor.encode(text):
            return ""
        return "".join(c for c in text if processor.unk_id() in processor.encode(c))

    def decode(self, sequences: Sequence[list[int]]) -> list[str]:
        """Returns the texts of sequences of numbers, control pieces left out."""
        return [self._processor.decode(numbers) for numbers in sequences]

    def check(self) -> None:
        """Reads the file.

        Raises:
          DataError: it is missing, no SentencePiece model or of another size.
        """
        found = self._processor.vocab_size()
        if found != self.size:
            raise DataError(
                f"The tokenizer {self.path} has a vocabulary of {found} pieces, "
                f"expected {self.size}; a model's outputs are numbers of pieces."
            )

    @functools.cached_property
    def _processor(self) -> Any:
        sentencepiece: Any = importlib.import_module("sentencepiece")
        try:
            data = read_bytes(self.path, _MOST_BYTES)
            if not data:
                raise DataError(f"The tokenizer {self.path} is empty.")
            processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        except OSError as error:
            raise DataError(
                f"The tokenizer {self.path} cannot be read: {error.strerror}."
            ) from error
        except RuntimeError as error:
            raise DataError(
                f"The tokenizer {self.path} is not a SentencePiece model."
            ) from error
        return processor


def train(transcripts: Iterable[str], path: Path, size: int) -> None:
    """Writes a tokenizer, the same for the same transcripts.

    Args:
      transcripts: the first `MAX_CHARACTERS` of them are used.
      path: of the new file.
      size: pieces in the vocabulary.

    Raises:
      DataError: there are too few different words for so many pieces.
      StorageError: the file cannot be written.
    """
    sentencepiece: Any = importlib.import_module("sentencepiece")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_first(transcripts),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            character_coverage=1.0,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"No tokenizer of {size} pieces was trained: {error}"
        ) from error
    with atomic(path, "The same command goes on from here.") as temporary:
        temporary.write_bytes(model.getvalue())


def _first(transcripts: Iterable[str]) -> Iterator[str]:
    """Yields transcripts up to `MAX_CHARACTERS` in all."""
    left = MAX_CHARACTERS
    for text in transcripts:
        left -= len(text)
        if left < 0:
            return
        yield text
