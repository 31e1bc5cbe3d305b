"""Makes the mini speech corpus anew: `python -m dataset_setup.synthesise_speech`.

Needs Debian's espeak-ng (`apt-get install espeak-ng`, version 1.51). Users never run
this: its result lies in the repository as workloads/_librispeech/mini_corpus.zip, and
docs/decisions/007-speech-corpus.md says how it was chosen. Everything comes from one
seed.
"""

import argparse
import dataclasses
import io
import itertools
import subprocess
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from dataset_setup.speech_grammar import sentences
from workloads._librispeech.mini import ARCHIVE, COUNTS, SUBSETS

SEED = 20_250_715
RATE = 16_000
SPEAKERS = {"train": 29, "validation": 5, "test": 5}
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp")
VARIANTS = tuple(f"m{k}" for k in range(1, 9)) + tuple(f"f{k}" for k in range(1, 6))
SPEED = (165, 205)  # words a minute, of a speaker
PITCH = (30, 70)  # of 99, of a speaker
JITTER = 0.06  # by which an utterance's speed and pitch differ from its speaker's
SECONDS = (1.0, 2.4)
PAUSE = (0.05, 0.3)  # seconds before and after the words
NOISE_RATIO = (12.0, 35.0)  # power of the words by that of the noise, in dB
NOISE_COLOUR = (0.0, 2.0)  # power falls by frequency ** -colour
LEVEL = (-24.0, -4.0)  # of the loudest sample, in dB of full scale
DRIFT = 4.0  # dB by which the level changes from one end to the other, at most
BITS_PER_SECOND = 24_000
_STAMP = (2025, 1, 1, 0, 0, 0)  # the same bytes whenever the archive is made


@dataclasses.dataclass(frozen=True)
class Speaker:
    """One voice of espeak-ng.

    Attributes:
      number: names the folder, as in LibriSpeech.
      voice: accent and variant, for example 'en-us+f2'.
      speed: words a minute.
      pitch: from 0 to 99.
    """

    number: int
    voice: str
    speed: float
    pitch: float


@dataclasses.dataclass(frozen=True)
class Utterance:
    """What is said and by whom; its speaker, chapter and number make its name."""

    speaker: Speaker
    chapter: int
    number: int
    text: str

    @property
    def folder(self) -> str:
        """Speaker and chapter as a path."""
        return f"{self.speaker.number}/{self.chapter}"

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return f"{self.speaker.number}-{self.chapter}-{self.number:04d}"


def main() -> None:
    """Writes the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ARCHIVE)
    arguments = parser.parse_args()
    with (
        zipfile.ZipFile(arguments.output, "w") as archive,
        ThreadPoolExecutor() as pool,
    ):
        for split, spoken in corpus(COUNTS).items():
            for utterance, data in zip(spoken, pool.map(_opus, spoken), strict=True):
                path = f"{SUBSETS[split][0]}/{utterance.folder}/{utterance.name}.opus"
                archive.writestr(zipfile.ZipInfo(path, _STAMP), data)
            for folder, rows in itertools.groupby(spoken, lambda row: row.folder):
                lines = "".join(f"{row.name} {row.text}\n" for row in rows)
                name = folder.replace("/", "-")
                path = f"{SUBSETS[split][0]}/{folder}/{name}.trans.txt"
                archive.writestr(zipfile.ZipInfo(path, _STAMP), lines)


def corpus(counts: dict[str, int]) -> dict[str, list[Utterance]]:
    """Returns the utterances of every split; none shares a speaker or a sentence."""
    rng = np.random.default_rng(SEED)
    voices = iter(rng.permutation([f"{a}+{v}" for a in ACCENTS for v in VARIANTS]))
    numbers = iter(rng.permutation(np.arange(100, 1000)))
    texts = sentences(rng)
    splits = {}
    for split, count in counts.items():
        speakers = [
            Speaker(
                int(next(numbers)), str(voice), rng.uniform(*SPEED), rng.uniform(*PITCH)
            )
            for voice in itertools.islice(voices, SPEAKERS[split])
        ]
        speakers.sort(key=lambda speaker: speaker.number)
        splits[split] = list(_spoken(speakers, count, texts))
    return splits


def _spoken(
    speakers: list[Speaker], count: int, texts: Iterator[str]
) -> Iterator[Utterance]:
    """Yields utterances evenly by speaker, each of whom has two chapters."""
    ends = np.linspace(0, count, 2 * len(speakers) + 1).round().astype(int)
    for k, (first, end) in enumerate(itertools.pairwise(ends)):
        speaker = speakers[k // 2]
        for number in range(end - first):
            yield Utterance(
                speaker, 1000 + 2 * speaker.number + k % 2, number, next(texts)
            )


def render(utterance: Utterance) -> np.ndarray:
    """Returns how an utterance sounds, float64 between -1 and 1, 16 kHz.

    Raises:
      ValueError: it takes longer than `SECONDS` allows.
    """
    name = (utterance.speaker.number, utterance.chapter, utterance.number)
    rng = np.random.default_rng((SEED, *name))
    words = _speak(utterance.speaker, utterance.text.lower(), rng)
    before, after = (rng.uniform(*PAUSE, 2) * RATE).astype(int)
    missing = max(int(SECONDS[0] * RATE) - len(words) - before - after, 0)
    words = np.pad(words, (before + missing // 2, after + missing - missing // 2))
    if len(words) > SECONDS[1] * RATE:
        raise ValueError(f"{utterance.text!r} takes {len(words) / RATE:.2f} seconds.")
    noise = _noise(len(words), rng)
    ratio = 10 ** (-rng.uniform(*NOISE_RATIO) / 20)
    sound = words + noise * ratio * words.std() / noise.std()
    drift = rng.uniform(-DRIFT, DRIFT) / 2
    sound *= 10 ** (np.linspace(-drift, drift, len(sound)) / 20)
    return sound * 10 ** (rng.uniform(*LEVEL) / 20) / np.abs(sound).max()


def _speak(speaker: Speaker, text: str, rng: np.random.Generator) -> np.ndarray:
    """Returns what espeak-ng says, without the silence around it."""
    speed, pitch = (
        f"{value * rng.uniform(1 - JITTER, 1 + JITTER):.0f}"
        for value in (speaker.speed, speaker.pitch)
    )
    command = ["espeak-ng", "-v", speaker.voice, "-s", speed, "-p", pitch, "--stdout"]
    done = subprocess.run([*command, text], capture_output=True, check=True)
    sound, rate = soundfile.read(io.BytesIO(done.stdout))
    sound = signal.resample_poly(sound, RATE, rate)
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def _noise(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns stationary noise of a random colour, between white and red."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 60.0)
    return np.fft.irfft(spectrum * frequency ** (-rng.uniform(*NOISE_COLOUR) / 2), size)


def _opus(utterance: Utterance) -> bytes:
    """Returns an utterance as an Ogg Opus file."""
    buffer = io.BytesIO()
    level = 1 - (BITS_PER_SECOND - 6_000) / 244_000  # libsndfile's scale for Opus
    soundfile.write(
        buffer, render(utterance), RATE, "OPUS", format="OGG", compression_level=level
    )
    return buffer.getvalue()


if __name__ == "__main__":
    main()
