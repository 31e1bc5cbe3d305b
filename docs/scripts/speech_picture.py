"""Draws docs/images/speech.png: one utterance on its way through the mini Conformer.

    python -m docs.scripts.speech_picture [--data_dir=~/data]

Trains the model with the reference NadamW, about two minutes, and shows what it heard
before and after. Prints the texts.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders, eval_batches
from algorithmic_efficiency.paths import folder_of
from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.trial import NoRecords, Progress, Rules, run_trial
from benchmarks.mini_targets import Job, make_trainer, points
from workloads._librispeech import transcripts
from workloads._librispeech.data import open_split

NAME = "librispeech_conformer_mini"
UTTERANCE = 100  # the middle one of the validation split, sorted by length
RATE = 16_000  # samples per second
BLUE, GREEN, GREY = "#2563a8", "#4daf4a", "#9a9a9a"
OUTPUT = Path(__file__).resolve().parent.parent / "images" / "speech.png"


def main() -> None:
    """Trains and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="~/data")
    parser.add_argument("--utterance", type=int, default=UTTERANCE)
    asked = parser.parse_args()
    definition = registry.get(NAME)
    job = Job(
        NAME, "nadamw", points("nadamw", 1)[0], 0, definition.step_hint, asked.data_dir
    )
    trainer = make_trainer(job)
    dataset = open_split(
        definition, Folders(folder_of("data_dir", asked.data_dir)), "validation"
    )
    batch = list(eval_batches(dataset, 1))[asked.utterance]
    labels, paddings = batch["targets"]
    spoken = transcripts.ragged(labels, paddings == 0)
    heard = [best_labels(trainer, batch)]
    trainer.open_data(0)
    run_trial(
        trainer, NoRecords(), Clock(), Rules(math.inf, math.inf, job.steps), Progress()
    )
    trainer.close()
    heard.append(best_labels(trainer, batch))
    texts = [
        dataset.tokenizer.decode(tokens)[0] for tokens in (spoken, *map(decode, heard))
    ]
    draw(trainer.state["params"], batch, texts, pieces(dataset, heard[1][0]))
    print(json.dumps(dict(zip(("spoken", "before", "after"), texts, strict=True))))


def best_labels(trainer: Any, batch: Any) -> Any:
    """Returns the most likely label of each frame [1, T], blank beyond the sound."""
    placed = trainer.workload.place(batch)
    with torch.no_grad():
        logits, paddings = trainer.state["params"].eval()(placed["inputs"])
    return (logits.argmax(-1) * (paddings == 0)).numpy()


def decode(best: Any) -> list[list[int]]:
    """Returns the tokens that labels spell; leaves the labels as they are."""
    return transcripts.decode(best.copy())


def pieces(dataset: Any, best: Any) -> list[tuple[float, str]]:
    """Returns (second, text) of each piece where its label first appears."""
    frame = np.flatnonzero((best != 0) & (best != np.r_[0, best[:-1]]))
    texts = dataset.tokenizer.decode([[int(label)] for label in best[frame]])
    timed = zip(frame * 4 * 0.01, texts, strict=True)
    return [(second, text) for second, text in timed if text]  # no end of sentence


def draw(model: Any, batch: Any, texts: list[str], heard: Any) -> None:
    """Draws the sound, the features, the features in training, and the texts."""
    audio, paddings = (torch.from_numpy(array) for array in batch["inputs"])
    samples = int((1 - paddings).sum())
    seconds = samples / RATE
    plain, valid = model.front_end.eval()((audio, paddings), None)
    torch.manual_seed(2)
    masked, _ = model.front_end.train()((audio, paddings), None)
    shown = plain[0, valid[0]].T.numpy()
    hidden = (masked == 0)[0, valid[0]].T.numpy()
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    axes[0].plot(
        np.arange(samples) / RATE, audio[0, :samples] / 2**15, lw=0.5, color=BLUE
    )
    axes[0].set(title="sound", ylabel="amplitude", xlim=(0, seconds))
    axes[0].spines[["top", "right"]].set_visible(False)
    colors = mpl.colormaps["magma"].with_extremes(bad=GREY)
    for axis, picture in ((axes[1], shown), (axes[2], np.ma.array(shown, mask=hidden))):
        axis.imshow(
            picture,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, len(picture)),
            cmap=colors,
            interpolation="nearest",
        )
        axis.set(ylabel="mel bin")
    title = "log-mel features, and the pieces that the trained model hears"
    axes[1].set_title(title, pad=28)
    for k, (second, text) in enumerate(heard):
        axes[1].axvline(second, color="white", lw=0.8, ls=":")
        axes[1].text(second, 82 + 11 * (k % 2), text, fontsize=9)  # in two rows
    axes[2].set_title("in training: SpecAugment hides what is grey")
    axes[2].set_xlabel("seconds")
    lines = zip(("spoken", "before training", "after training"), texts, strict=True)
    text = "\n".join(f"{name:>16}  {line or '(nothing)'}" for name, line in lines)
    figure.supxlabel(text, x=0.02, ha="left", family="monospace", fontsize=10)
    figure.savefig(OUTPUT, dpi=120)


if __name__ == "__main__":
    main()
