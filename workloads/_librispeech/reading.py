"""Reads one utterance: FLAC to samples, transcript to token numbers."""

import dataclasses
import hashlib
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from algorithmic_efficiency.data import BadExample
from algorithmic_efficiency.data.dataset import Fields
from algorithmic_efficiency.files import regular
from workloads._librispeech.tokenizer import Tokenizer

RATE = 16_000  # samples per second, of LibriSpeech
NO_TRANSCRIPT = "has no transcript beside it, or two that differ"
_BITS = 16  # of a sample
_HEADER_SIZE = 42  # bytes up to the end of STREAMINFO
_HOUR = 3_600 * RATE  # a header that says more is damaged


class Utterance(NamedTuple):
    """One line of an index.

    Attributes:
      path: of the FLAC file.
      samples: that its header counts.
      transcript: what is said, in capitals; '' where it is missing.
    """

    path: str
    samples: int
    transcript: str


class Header(NamedTuple):
    """What the header of a FLAC file says (RFC 9639, section 8.2)."""

    samples: int
    rate: int
    channels: int
    md5: str


@dataclasses.dataclass(frozen=True)
class Element:
    """Reads an utterance; nothing is drawn at random, the model augments.

    Attributes:
      tokenizer: of the transcripts.
      max_samples: to which sound is padded by zeros.
      max_tokens: likewise.
    """

    tokenizer: Tokenizer
    max_samples: int
    max_tokens: int

    def __call__(self, utterance: Utterance, rng: np.random.Generator | None) -> Fields:
        """Returns `inputs` (int16 [max_samples], number of samples) and `targets`.

        `targets` are (int32 [max_tokens], number of tokens), the end of sentence
        included. They become what the model takes when the batch is finished: whole
        numbers need a quarter of the room on their way from a worker process.

        Raises:
          BadExample: the file is damaged, too long or not 16 kHz mono, or the
            transcript is missing or has other characters than the tokenizer.
        """
        del rng
        tokens = self._tokens(utterance)
        sound = samples(utterance)
        return {
            "inputs": _padded(sound, self.max_samples, np.int16, utterance.path),
            "targets": _padded(tokens, self.max_tokens, np.int32, utterance.path),
        }

    def _tokens(self, utterance: Utterance) -> list[int]:
        if not utterance.transcript:
            raise BadExample(utterance.path, NO_TRANSCRIPT)
        unknown = self.tokenizer.unknown(utterance.transcript)
        if unknown:
            raise BadExample(
                utterance.path,
                f"has {unknown!r} in its transcript, which is not in the tokenizer "
                f"{self.tokenizer.path}",
            )
        return self.tokenizer.encode(utterance.transcript)


@dataclasses.dataclass(frozen=True)
class Finish:
    """Makes a batch what the model takes, no longer than its sounds need.

    Attributes:
      buckets: the lengths in samples that a batch may have, ascending. The smallest
        one that holds the longest sound is taken: with few lengths there are few
        programs to compile.
    """

    buckets: tuple[int, ...]

    def __call__(self, fields: Fields) -> Fields:
        """Returns pairs of float32: [B, T] sound and its padding, tokens and theirs."""
        (sound, sizes), (tokens, counts) = fields["inputs"], fields["targets"]
        length = next(bucket for bucket in self.buckets if bucket >= sizes.max())
        return {
            "inputs": (sound[:, :length].astype(np.float32), _paddings(sizes, length)),
            "targets": (tokens.astype(np.float32), _paddings(counts, tokens.shape[1])),
        }


def _padded(values: Any, size: int, dtype: type, name: str) -> tuple[NDArray, NDArray]:
    if len(values) > size:
        what = "samples" if dtype is np.int16 else "tokens"
        raise BadExample(name, f"has {len(values)} {what}, at most {size} fit")
    padded = np.zeros(size, dtype)
    padded[: len(values)] = values
    return padded, np.asarray(len(values), np.int32)


def _paddings(sizes: NDArray, length: int) -> NDArray:
    """Returns float32 [B, length]: 0 up to a row's size, then 1."""
    return (np.arange(length) >= sizes[:, None]).astype(np.float32)


def samples(utterance: Utterance) -> NDArray:
    """Returns the sound of an utterance, int16.

    Raises:
      BadExample: the file is not what the index says or cannot be decoded.
    """
    path, expected, _ = utterance
    told = header(Path(path)).samples
    if told != expected:
        raise BadExample(
            path,
            f"has {told} samples, and {expected} in its index, which is older",
        )
    return _decoded(path, told)


def _decoded(path: str, size: int) -> NDArray:
    """Returns the sound of a file whose header says 16 kHz mono and its size."""
    soundfile: Any = importlib.import_module("soundfile")
    try:
        sound: NDArray = soundfile.read(path, dtype="int16")[0]
    except soundfile.LibsndfileError as error:
        raise BadExample(path, _reason(path, error.error_string)) from error
    if len(sound) != size:
        raise BadExample(path, f"is cut off: {len(sound)} of {size} samples")
    return sound


def header(path: Path) -> Header:
    """Returns the header of a FLAC file, which takes a hundredth of decoding it.

    Raises:
      BadExample: it is not the header of a FLAC file of 16 kHz mono in 16 bits, or has
        no sound.
    """
    try:
        regular(path)
        with path.open("rb") as file:
            data = file.read(_HEADER_SIZE)
    except OSError as error:
        raise BadExample(str(path), _reason(str(path), str(error.strerror))) from error
    if len(data) < _HEADER_SIZE or not data.startswith(b"fLaC"):
        raise BadExample(str(path), _reason(str(path), "no FLAC header"))
    word = int.from_bytes(data[18:26])
    size, rate, channels = word & (1 << 36) - 1, word >> 44, (word >> 41 & 7) + 1
    if (rate, channels) != (RATE, 1):
        why = f"has {rate} Hz and {channels} channels, expected {RATE} Hz and 1"
        raise BadExample(str(path), why)
    if (bits := (word >> 36 & 31) + 1) != _BITS:
        raise BadExample(str(path), f"has {bits} bits a sample, expected {_BITS}")
    if not 0 < size <= _HOUR:
        raise BadExample(str(path), f"says that it has {size} samples")
    return Header(size, rate, channels, data[26:42].hex())


def damage(path: Path) -> str:
    """Decodes a FLAC file and says what is wrong with it; '' where nothing is.

    A FLAC file holds the MD5 sum of the sound that went into it, or zeros where its
    encoder did not know it when it wrote the header.
    """
    try:
        told = header(path)
        sound = _decoded(str(path), told.samples)
    except BadExample as error:
        return error.why
    if int(told.md5, 16) and hashlib.md5(sound.tobytes()).hexdigest() != told.md5:
        return "does not have the MD5 sum that its header says"
    return ""


def _reason(path: str, error: str) -> str:
    """Says why a file cannot be decoded, in words that help more than the library's."""
    try:
        size = regular(Path(path)).st_size
    except FileNotFoundError:
        return "is not there"
    except OSError as why:
        return f"cannot be read: {why.strerror}"
    return f"cannot be decoded: {error}" if size else "is empty"
