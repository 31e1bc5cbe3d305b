"""Sound a second and core of the speech pipeline, and how much of a batch is padding.

    python -m benchmarks.audio [--data_dir=~/data]

Prints JSON lines. `audio_reading`: seconds of sound that one core reads in a second of
CPU time, for utterances of 12.3 s padded to 20 s (made of mini utterances) and for the
mini utterances themselves; `read` is a whole example as training gets it: FLAC decoded,
padded, transcript to tokens; `finish` makes a batch of 32 float32 with its paddings.
Medians of rounds in turns. `audio_padding`: which share of the samples of all batches
is padding, as published (every batch at the greatest length), with batches cut to the
smallest of the workload's lengths that holds them, and cut exactly; in random order and
sorted by length.

The mini set is counted. For LibriSpeech there are only published means: 960.9 hours in
281,241 training utterances, 10.7 in 5,567 for validation, 5.4 in 2,620 for the test
(Panayotov et al., 2015, table 1). Assumed are lengths with the published mean that
follow a gamma distribution of shape 2 for validation and test, and a normal one with a
standard deviation of 3.8 s for training; those outside of 1 to 20 s are drawn again.
Without that assumption, the share as published is 1 - mean / 20 s.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from algorithmic_efficiency.paths import folder_of
from benchmarks.turns import median_seconds
from workloads._librispeech import index, layout, mini, reading, scale
from workloads._librispeech.tokenizer import Tokenizer

UTTERANCES = 32
ROUNDS = 9
# Split -> (hours, utterances), from the paper on LibriSpeech.
PUBLISHED = {
    "train": (960.9, 281_241),
    "validation": (10.7, 5_567),
    "test": (5.4, 2_620),
}
TRAINING_DEVIATION = 3.8
SHAPE = 2.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="~/data")
    root = mini.prepare(folder_of("data_dir", parser.parse_args().data_dir))
    measure_reading(root)
    for split in layout.SUBSETS:
        rows = index.Indexed(index.path_of(root, split))
        sizes = np.array([rows[k].samples for k in range(len(rows))])
        show_padding("mini", split, sizes, scale.MINI)
    for split in layout.SUBSETS:
        show_padding("full, assumed lengths", split, assumed_sizes(split), scale.FULL)


def measure_reading(root: Path) -> None:
    """Prints how fast utterances are read and batches are finished."""
    rows = index.Indexed(index.path_of(root, "train"))
    short = [rows[k] for k in range(UTTERANCES)]
    with tempfile.TemporaryDirectory() as folder:
        long = [joined(rows, k, Path(folder)) for k in range(UTTERANCES)]
        for name, utterances, facts in (
            ("mini", short, scale.MINI),
            ("full", long, scale.FULL),
        ):
            element = element_of(root, facts)
            finish = reading.Finish(facts["data_arguments"]["buckets"])
            fields = collated([element(row, None) for row in utterances])
            tasks: dict[str, Callable[[], object]] = {
                "decode": lambda u=utterances: [reading.samples(row) for row in u],
                "read": lambda u=utterances, e=element: [e(row, None) for row in u],
                "finish": lambda f=fields, done=finish: done(f),
            }
            seconds = sum(row.samples for row in utterances) / reading.RATE
            for what, cpu in median_seconds(tasks, ROUNDS).items():
                show(
                    "audio_reading",
                    scale=name,
                    what=what,
                    mean_seconds=round(seconds / UTTERANCES, 2),
                    times_real_time_per_core=round(seconds / cpu),
                )


def element_of(root: Path, facts: dict[str, Any]) -> reading.Element:
    """Returns what reads an utterance, with the mini tokenizer."""
    sizes = [facts["fields"][name][0].shape[0] for name in ("inputs", "targets")]
    tokenizer = Tokenizer(root / layout.TOKENIZER, mini.VOCABULARY_SIZE)
    return reading.Element(tokenizer, *sizes)


def collated(elements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stacks examples as the pipeline does."""
    return {
        name: tuple(map(np.stack, zip(*(e[name] for e in elements), strict=True)))
        for name in elements[0]
    }


def joined(rows: index.Indexed, number: int, folder: Path) -> reading.Utterance:
    """Writes mini utterances one after the other, 12.3 s in all, as one FLAC file."""
    picked = [rows[(13 * number + k) % len(rows)] for k in range(14)]
    sound = np.concatenate([reading.samples(row) for row in picked])
    sound = sound[: round(12.3 * reading.RATE)]
    path = str(folder / f"{number}.flac")
    soundfile.write(path, sound, reading.RATE, "PCM_16")
    text = " ".join(row.transcript for row in picked[:8])
    return reading.Utterance(path, len(sound), text)


def assumed_sizes(split: str) -> np.ndarray:
    """Returns lengths in samples as the module's docstring assumes them."""
    hours, count = PUBLISHED[split]
    mean = hours * 3600 / count
    rng = np.random.default_rng(0)
    seconds = np.empty(0)
    while len(seconds) < count:
        if split == "train":
            drawn = rng.normal(mean, TRAINING_DEVIATION, count)
        else:
            drawn = rng.gamma(SHAPE, mean / SHAPE, count)
        seconds = np.append(seconds, drawn[(drawn >= 1) & (drawn <= 20)])
    return (seconds[:count] * reading.RATE).astype(int)


def show_padding(
    name: str, split: str, sizes: np.ndarray, facts: dict[str, Any]
) -> None:
    """Prints the share of padding in batches of the workload's size."""
    buckets = np.array(facts["data_arguments"]["buckets"])
    batch = 32 if name == "mini" and split == "train" else facts["eval_batch_size"]
    shuffled = np.random.default_rng(0).permutation(sizes)
    ordered = np.sort(sizes)[::-1]

    def share(lengths: np.ndarray, order: np.ndarray) -> float:
        """The share of padding where batches are as long as the next of `lengths`."""
        starts = range(0, len(order), batch)
        longest = np.array([order[k : k + batch].max() for k in starts])
        rows = np.array([len(order[k : k + batch]) for k in starts])
        taken = lengths[np.searchsorted(lengths, longest)]
        return round(1 - float(order.sum() / (taken * rows).sum()), 3)

    exact = np.arange(buckets[-1] + 1)
    show(
        "audio_padding",
        data=name,
        split=split,
        batch_size=batch,
        mean_seconds=round(float(sizes.mean()) / reading.RATE, 2),
        as_published=share(buckets[-1:], shuffled),
        cut_to_bucket=share(buckets, shuffled),
        cut_exactly=share(exact, shuffled),
        sorted_cut_to_bucket=share(buckets, ordered),
        sorted_cut_exactly=share(exact, ordered),
    )


def show(name: str, **values: Any) -> None:
    """Prints one JSON line."""
    print(json.dumps({"benchmark": name, **values}), flush=True)


if __name__ == "__main__":
    main()
