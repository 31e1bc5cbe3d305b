"""Evaluation of sequences: summaries leave the device, and padding counts nowhere."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from core.core_fakes import definition

from algorithmic_efficiency import evaluation
from algorithmic_efficiency.backends.jax import JaxOps
from algorithmic_efficiency.backends.pytorch import TorchOps
from algorithmic_efficiency.data import Dataset
from algorithmic_efficiency.definition import Evaluate
from algorithmic_efficiency.numpy_ops import NumpyOps
from workloads._librispeech import transcripts
from workloads._librispeech.metrics import best_labels

T, L, V = 12, 4, 6
SIZES = {"eval_train": 5, "validation": 11, "test": 7}
METRICS = tuple(
    f"workloads._librispeech.metrics.{name}"
    for name in ("wer_true", "wer", "ctc_loss", "misfits")
)
WORDS = np.array(["", "one", "two", "it's", "four", "five"])
LIBRARIES = {
    "numpy": (NumpyOps(), np.asarray),
    "pytorch": (TorchOps(), torch.tensor),
    "jax": (JaxOps(), jnp.asarray),
}
ROW = definition(
    loss="ctc",
    evaluations=(Evaluate(METRICS, how="evaluate"),),
    target_metric_name="wer",
    num_eval_train_examples=SIZES["eval_train"],
    num_validation_examples=SIZES["validation"],
    num_test_examples=SIZES["test"],
)


class Words:
    """A tokenizer whose pieces are words."""

    def decode(self, sequences):
        return [" ".join(WORDS[row]) for row in sequences]


def examples(split):
    """Returns utterances whose "audio" is the logits; some texts do not fit."""
    random = np.random.default_rng(sorted(SIZES).index(split))
    rows = []
    for _ in range(SIZES[split]):
        frames, labels = random.integers(2, T + 1), random.integers(1, L + 1)
        logits = 3.0 * random.standard_normal((T, V)).astype(np.float32)
        paddings = (np.arange(T) >= frames).astype(np.float32)
        text = random.integers(1, V, L).astype(np.float32)
        label_paddings = (np.arange(L) >= labels).astype(np.float32)
        rows.append({"inputs": (logits, paddings), "targets": (text, label_paddings)})
    return rows


def open_split(split):
    return Dataset(examples(split), lambda x, _: x, dict, tokenizer=Words())


def predictor(library="numpy"):
    """Returns a model that repeats its inputs, and is NaN where all is padding."""
    ops, tensor = LIBRARIES[library]

    def predict(batch, how):
        inputs = tuple(tensor(x) for x in batch["inputs"])
        placed = {
            "targets": tuple(tensor(x) for x in batch["targets"]),
            "weights": tensor(batch["weights"]),
        }
        nan = tensor(np.where(batch["weights"] == 0, np.nan, 0).astype(np.float32))
        outputs = (inputs[0] + nan[:, None, None], inputs[1])
        summary = best_labels(ops, placed, outputs)
        return {name: np.asarray(value) for name, value in summary.items()}

    return predict


def evaluate(batch_size, predict):
    return evaluation.evaluate(ROW, open_split, predict, batch_size=batch_size)


def expected(prefix, split):
    """Returns the metrics of a split, one utterance after the other."""
    totals = dict.fromkeys(("errors", "words", "published", "loss", "tokens"), 0.0)
    misfits = 0
    for example in examples(split):
        (logits, paddings), (text, label_paddings) = (
            (x[None] for x in example[name]) for name in ("inputs", "targets")
        )
        frames, labels = int((1 - paddings).sum()), int((1 - label_paddings).sum())
        text = text[0, :labels].astype(int).tolist()
        said = " ".join(WORDS[text])
        best = logits[:, :frames].argmax(-1)
        understood = " ".join(WORDS[transcripts.decode(best)[0]])
        totals["errors"] += transcripts.word_errors([said], [understood])
        glued = [transcripts.published(x) for x in (said, understood)]
        totals["published"] += transcripts.word_errors(glued[:1], glued[1:])
        totals["words"] += labels
        repeats = sum(a == b for a, b in zip(text, text[1:], strict=False))
        if labels + repeats > frames:
            misfits += 1
            continue
        totals["tokens"] += labels
        one = NumpyOps().ctc(logits, paddings, np.array([text]), np.zeros((1, labels)))
        totals["loss"] += one[0]
    size = SIZES[split]
    return {
        f"{prefix}/num_examples": size,
        f"{prefix}/wer_true": totals["errors"] / totals["words"],
        f"{prefix}/wer": totals["published"] / (totals["words"] + 2 * size),
        f"{prefix}/ctc_loss": totals["loss"] / totals["tokens"],
        f"{prefix}/misfits": misfits,
    }


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("batch_size", [1, 4, 11])
def test_metrics_do_not_depend_on_batch_size_or_library(library, batch_size):
    want = {}
    for prefix, split in [("train", "eval_train"), ("validation",) * 2, ("test",) * 2]:
        want |= expected(prefix, split)
    got = evaluate(batch_size, predictor(library))
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=1e-5), name
    assert sum(got[f"{prefix}/misfits"] for prefix in ("train", "validation")) > 0
    assert got["validation/wer_true"] > got["validation/wer"] > 0.1


def test_what_leaves_the_device_has_no_axis_of_labels():
    predict = predictor("jax")

    def spy(batch, how):
        summary = predict(batch, how)
        assert all(value.size <= 4 * T for value in summary.values())
        return summary

    evaluate(4, spy)
