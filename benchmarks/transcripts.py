"""Word error rates of an evaluation of speech, as one JSON line.

    python -m benchmarks.transcripts [--utterances 5000]

Times all that the host does after the model: decoding the best path of 500 frames,
turning pieces into text (references too), and both word error rates. Texts are drawn
from the mini corpus, whose tokenizer is used; a fifth of the words are misheard.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from algorithmic_efficiency import metrics, registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.paths import folder_of
from workloads._librispeech import data

WORKLOAD = "librispeech_deepspeech_mini"
FRAMES, WORDS = 500, 20  # at full scale, and about the mean of LibriSpeech
MISHEARD = 0.2


def main() -> None:
    """Prints the seconds of the best of five rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=5000)
    parser.add_argument("--data_dir", default="~/data")
    options = parser.parse_args()
    definition = registry.get(WORKLOAD)
    folders = Folders(folder_of("data_dir", options.data_dir))
    split = data.open_split(definition, folders, "train")
    arrays = utterances(split, options.utterances)
    rounds = []
    for _ in range(5):
        begin = time.perf_counter()
        outputs, targets, weights = arrays
        batch = {"targets": targets, "weights": weights}
        seen = metrics.Seen(outputs, batch, definition.loss, split.tokenizer)
        line: dict[str, Any] = {"utterances": options.utterances}
        for name in ("wer_true", "wer"):
            metric = metrics.find(f"workloads._librispeech.metrics.{name}")
            errors, words = metric.update(seen)
            line[name] = round(errors / words, 4)
        rounds.append({"seconds": round(time.perf_counter() - begin, 4), **line})
    print(json.dumps(min(rounds, key=lambda line: line["seconds"])))


def utterances(split: Any, count: int) -> tuple[Any, Any, np.ndarray]:
    """Returns summary, targets and weights of a batch of `count` utterances."""
    random = np.random.default_rng(0)
    transcripts = [split.examples[i].transcript for i in range(len(split.examples))]
    words = np.array(" ".join(transcripts).split())
    said = random.choice(words, (count, WORDS))
    misheard = random.random(said.shape) < MISHEARD
    understood = np.where(misheard, random.choice(words, said.shape), said)
    tokenizer = split.element.tokenizer
    labels = np.zeros((count, FRAMES), np.float32)
    best = np.zeros((count, FRAMES), np.int64)
    paddings = np.ones((count, FRAMES), np.float32)
    for row in range(count):
        tokens = tokenizer.encode(" ".join(said[row]))
        labels[row, : len(tokens)] = tokens
        paddings[row, : len(tokens)] = 0
        heard = tokenizer.encode(" ".join(understood[row]))
        path = np.repeat(np.stack([heard, np.zeros_like(heard)], 1).ravel(), 2)
        best[row, : len(path)] = path[:FRAMES]
    return {"best": best}, (labels, paddings), np.ones(count, np.float32)


if __name__ == "__main__":
    main()
