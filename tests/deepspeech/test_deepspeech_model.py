"""DeepSpeech against its description, written out for one utterance at a time."""

import dataclasses

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity import pairs

from algorithmic_efficiency import params, registry, spec
from algorithmic_efficiency.workload import Workload

FRAMEWORKS = ("jax", "pytorch")
TRAIN, EVAL = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
VARIANTS = [
    name
    for name in registry.definitions()
    if name.startswith("librispeech_deepspeech") and registry.is_mini(name)
]
BASE = "librispeech_deepspeech_mini"
LAYER_NORM = "librispeech_deepspeech_norm_and_spec_aug_mini"
each_variant = pytest.mark.parametrize("name", VARIANTS)
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


class Reference:
    """The evaluation of one utterance, float64, from the facts of the workload."""

    def __init__(self, flat, model):
        self.flat = {k: torch.tensor(np.asarray(v)).double() for k, v in flat.items()}
        self.model = model
        self.act = {"relu": torch.relu, "tanh": torch.tanh}[model["activation"]]

    def __call__(self, features):
        """Returns logits of features [T, 80]: T - 1 valid frames and one of silence."""
        x = torch.tensor(features).double()[None, None]
        for name, time in (("subsample.conv1", 0), ("subsample.conv2", 1)):
            x = F.pad(x, (0, 1, time, time))
            x = self.act(F.conv2d(x, *self.both(name), stride=2))
        x = x[0].permute(1, 2, 0).flatten(1)  # the bins outside, the channels inside
        x = F.linear(x, *self.both("subsample.linear"))
        for i in range(self.model["lstm_layers"]):
            y = self.lstm(f"lstms.{i}.lstm", self.norm(f"lstms.{i}", x))
            x = x + y if self.model["residual"] else y
        for i in range(self.model["dense_layers"]):
            y = F.linear(self.norm(f"ffns.{i}", x), *self.both(f"ffns.{i}.lin"))
            x = x + self.act(y) if self.model["residual"] else self.act(y)
        if self.model["final_norm"]:
            x = self.layer_norm("ln", x)
        return F.linear(x, *self.both("lin"))

    def both(self, name):
        return self.flat[f"{name}.weight"], self.flat[f"{name}.bias"]

    def norm(self, layer, x):
        if self.model["norm"] == "ln":
            return self.layer_norm(f"{layer}.ln", x)
        weight, bias = self.both(f"{layer}.bn")
        mean, var = (self.flat[f"{layer}.bn.running_{s}"] for s in ("mean", "var"))
        return (x - mean) * (1 + weight) / torch.sqrt(var + 1e-3) + bias

    def layer_norm(self, name, x):
        weight, bias = self.both(name)
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-6) * (1 + weight) + bias

    def lstm(self, name, x):
        """Returns both directions of a cell written out."""
        outputs = []
        for end in ("", "_reverse"):
            w_ih, w_hh, b_ih, b_hh = (
                self.flat[f"{name}.{leaf}_l0{end}"]
                for leaf in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h = c = torch.zeros(w_hh.shape[1]).double()
            hidden = []
            for frame in x.flip(0) if end else x:
                z = w_ih @ frame + b_ih + w_hh @ h + b_hh
                i, f, g, o = z.chunk(4)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                hidden.append(h)
            y = torch.stack(hidden)
            outputs.append(y.flip(0) if end else y)
        return torch.cat(outputs, -1)


def speech(lengths, samples, seed=0):
    """Returns noise of the given lengths, and its paddings."""
    random = np.random.default_rng(seed)
    audio = np.zeros((len(lengths), samples), np.float32)
    paddings = np.ones((len(lengths), samples), np.float32)
    for row, length in enumerate(lengths):
        audio[row, :length] = 2000 * random.standard_normal(length)
        paddings[row, :length] = 0
    return audio, paddings


def evaluated(name, framework, inputs):
    """Returns the outputs of an evaluation with moved weights, and these."""
    made, parameters, state = pairs.with_weights(name, framework)
    batch = made.place({"inputs": inputs})
    outputs, _ = made.model_fn(parameters, batch, state, EVAL, None, False)
    flat = pairs.backend(framework).canonical(parameters, state)
    return [x.detach().numpy() if hasattr(x, "detach") else x for x in outputs], flat


@each_framework
@each_variant
def test_evaluation_is_the_published_model(name, framework):
    samples = 22 * 160
    inputs = speech([samples, samples // 2], samples)
    (logits, paddings), flat = evaluated(name, framework, inputs)
    np.testing.assert_array_equal(paddings, [[0] * 6, [0, 0, 0, 1, 1, 1]])
    module = pairs.with_weights(name, "pytorch")[1]
    features = module.front_end.log_mel(*map(torch.tensor, inputs)).numpy()
    reference = Reference(flat, pairs.workload(name, framework).definition.model)
    for row, frames in ((0, 23), (1, 13)):
        expected = reference(features[row, :frames]).numpy()
        got = logits[row, : len(expected)]
        assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


@each_framework
@pytest.mark.parametrize("name", [BASE, LAYER_NORM])
def test_longer_batches_change_nothing(name, framework):
    """Training: logits at valid frames, loss, gradients and running statistics."""
    made, _, _ = pairs.with_weights(name, framework)
    lengths = [9_000, 6_100, 3_000, 0]
    targets = (np.full((4, 3), 5, np.float32), np.zeros((4, 3), np.float32))
    targets[1][3] = 1
    runs = []
    for samples in (9_000, 16_000):
        batch = {"inputs": speech(lengths, samples), "targets": targets}
        batch["weights"] = np.ones(4, np.float32)
        _, parameters, state = pairs.with_weights(name, framework)
        runs.append(pairs.forward_backward(made, parameters, state, batch))
    short, long = runs
    frames = short["outputs"].shape[1]
    assert long["outputs"].shape[1] > frames
    long["outputs"] = long["outputs"][:, :frames]
    for one, other in zip(jax.tree.leaves(short), jax.tree.leaves(long), strict=True):
        assert np.isfinite(one).all()
        largest = max(np.abs(one).max(), 1e-3)
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * largest)


@each_framework
def test_a_batch_of_padding_alone_is_harmless(framework):
    made, parameters, state = pairs.with_weights(BASE, framework)
    before = pairs.backend(framework).canonical(parameters, state)
    batch = {
        "inputs": speech([9_000, 0], 9_000),
        "targets": (np.full((2, 3), 5, np.float32), np.zeros((2, 3), np.float32)),
        "weights": np.zeros(2, np.float32),
    }
    run = pairs.forward_backward(made, parameters, state, batch)
    assert run["loss"]["summed"] == 0
    for gradient in run["gradients"].values():
        np.testing.assert_array_equal(gradient, 0)
    for name, value in run["statistics"].items():
        np.testing.assert_array_equal(value, before[name])


def outputs_of(made, mode, rng, dropout_rate=None, seed=0):
    """Returns the logits of one pass with initial weights."""
    backend = made._backend
    parameters, state = made.init_model_fn(backend.make_rng((1, 2)))
    backend.seed_globals((seed, seed))
    batch = made.place({"inputs": speech([8_000, 5_000], 8_000)})
    outputs, _ = made.model_fn(
        parameters, batch, state, mode, rng, False, dropout_rate=dropout_rate
    )
    return np.asarray(outputs[0].tolist())


@each_framework
def test_chance_is_dropout_and_spec_augment_and_only_in_training(framework):
    definition = registry.get(BASE)
    backend = pairs.backend(framework)

    def outputs(mode, seed, **changes):
        rate = changes.pop("rate", None)
        model = {**definition.model, **changes}
        row = dataclasses.replace(definition, model=model)
        made = Workload(row, backend, pairs.NO_DATA)
        rng = backend.make_rng((seed, seed))
        return outputs_of(made, mode, rng, rate, seed)

    no_masks = {"time_masks": 0, "frequency_masks": 0}
    quiet = outputs(TRAIN, 1, dropout_rate=0.0, **no_masks)
    np.testing.assert_array_equal(
        quiet, outputs(TRAIN, 2, dropout_rate=0.0, **no_masks)
    )
    np.testing.assert_array_equal(quiet, outputs(TRAIN, 2, rate=0.0, **no_masks))
    for changes in (no_masks, {"rate": 0.0}, {"rate": 0.0, "frequency_masks": 0}):
        assert not np.allclose(outputs(TRAIN, 1, **changes), quiet, atol=1e-3)
    np.testing.assert_array_equal(outputs(EVAL, 1), outputs(EVAL, 2))


def test_variants_are_what_they_say():
    shapes = {}
    for name in VARIANTS:
        definition, backend = registry.get(name), pairs.backend("pytorch")
        shapes[name] = set(backend.shapes(backend.build(definition), definition))
        assert {params.parameter_type(each) for each in shapes[name]}
    only = shapes[LAYER_NORM] - shapes[BASE]
    assert only and all(".ln." in name for name in only)
    assert not any(".bn." in name or name == "ln.weight" for name in shapes[LAYER_NORM])
    assert shapes["librispeech_deepspeech_tanh_mini"] == shapes[BASE]
    model = registry.get("librispeech_deepspeech_norm_and_spec_aug").model
    assert (model["time_masks"], model["frequency_masks"]) == (15, 4)
