"""Log-mel, SpecAugment and subsampling against NumPy float64, in both frameworks."""

import front_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from algorithmic_efficiency import params
from workloads._librispeech import features as constants
from workloads._librispeech import jax as jax_front
from workloads._librispeech import pytorch as torch_front

FRAMEWORKS = ("pytorch", "jax")
SUBSAMPLE = {"channels": 5, "features": 7, "activation": "relu"}


def utterances(samples, lengths, seed=0):
    """Returns loud, ordinary and quiet sound with junk in its padding, and paddings."""
    random = np.random.default_rng(seed)
    loudness = np.resize([8000, 300, 2], len(lengths))[:, None]
    sound = random.standard_normal((len(lengths), samples)) * loudness
    sound += 3 * loudness * np.sin(np.arange(samples) * 0.05)
    paddings = np.arange(samples) >= np.array(lengths)[:, None]
    return np.round(sound).astype(np.float32), paddings.astype(np.float32)


def front(framework, inputs, weights=None, masks=(0, 0), seed=None):
    """Returns features and valid frames as NumPy; with a seed, as in training."""
    if framework == "pytorch":
        end = torch_front.FrontEnd(*masks).train(seed is not None)
        torch.manual_seed(seed or 0)
        tensors = tuple(map(torch.from_numpy, inputs))
        weights = None if weights is None else torch.from_numpy(weights)
        return tuple(x.numpy() for x in end(tensors, weights))
    end = jax_front.FrontEnd(*masks)
    rngs = None if seed is None else {"dropout": jax.random.key(seed)}
    made = end.apply({}, inputs, weights, train=seed is not None, rngs=rngs)
    return tuple(np.asarray(x) for x in made)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_log_mel_is_the_published_one(framework):
    inputs = utterances(16_000, [16_000, 9_001, 0])
    features, valid = front(framework, inputs)
    for i in range(3):
        expected, padded = reference.log_mel(inputs[0][i], inputs[1][i])
        frames = len(expected)
        np.testing.assert_allclose(features[i, :frames], expected, rtol=0, atol=2e-4)
        np.testing.assert_array_equal(valid[i, :frames], padded == 0)


def test_constants_are_the_published_ones():
    # Sums of the 80 published numbers, and the first and last of them.
    sums = [np.float64(each).sum() for each in (constants.MEAN, constants.STDDEV)]
    np.testing.assert_allclose(sums, [-520.669506, 286.177605], rtol=0, atol=1e-5)
    ends = [constants.MEAN[0], constants.MEAN[-1]]
    ends += [constants.STDDEV[0], constants.STDDEV[-1]]
    np.testing.assert_allclose(ends, [-7.604782, -6.941865, 3.435328, 3.429917])
    np.testing.assert_allclose(
        constants.mel_filters(), reference.mel_filters(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("samples", [9_001, 9_120, 9_281, 12_345])
def test_features_do_not_depend_on_the_length_of_the_batch(framework, samples):
    inputs = utterances(14_000, [9_001, 5_000])
    features, valid = front(framework, inputs)
    short, shown = front(framework, [x[:, :samples] for x in inputs])
    # ceil(n / 160) frames have one of n samples in them, and all of them are there.
    assert valid.sum(1).tolist() == shown.sum(1).tolist() == [57, 32]
    assert short.shape[1] % 2 == 1
    frames = min(short.shape[1], features.shape[1])
    np.testing.assert_allclose(short[:, :frames], features[:, :frames], atol=1e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_is_padding_cannot_be_heard(framework):
    audio, paddings = utterances(8_000, [5_000, 8_000])
    weights = np.float32([1, 0])
    features, valid = front(framework, (audio, paddings), weights)
    audio[0, 5_000:] = 12_345
    np.testing.assert_array_equal(
        features, front(framework, (audio, paddings), weights)[0]
    )
    assert valid.sum(1).tolist() == [32, 0]


def test_published_length():
    audio, paddings = np.zeros((2, 1, 320_000), np.float32)
    features, valid = front("pytorch", (audio, paddings))
    assert features.shape == (1, 2001, 80)
    assert valid.sum() == 2000
    subsample = torch_front.Subsample(1, 4, "relu")
    x, valid = subsample(torch.from_numpy(features), torch.from_numpy(valid))
    assert x.shape == (1, 500, 4)
    assert valid.all()


# SpecAugment.


@pytest.mark.parametrize("limit", [0, 3, 40])
def test_spans_are_those_of_the_formula(limit):
    drawn = np.random.default_rng(1).random((6, 4, 2), np.float32)
    drawn[0] = 0
    drawn[1] = np.nextafter(np.float32(1), np.float32(0))
    largest, limits = np.full((6, 1), 0.3 * limit), np.full((6, 1), float(limit))
    arguments = [x.astype(np.float32) for x in (drawn, largest, limits)]
    ours = jax_front.spans(*map(jnp.asarray, arguments), 50)
    theirs = torch_front.spans(*map(torch.from_numpy, arguments), 50)
    np.testing.assert_array_equal(ours, theirs)
    for i in range(6):
        expected = reference.spans(drawn[i], np.float32(0.3 * limit), limit, 50)
        np.testing.assert_array_equal(ours[i], expected)
    assert not theirs[:, limit:].any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_spec_augment_hides_spans_of_valid_frames_and_of_bins(framework):
    inputs = utterances(32_000, [32_000] * 20 + [16_000] * 20)
    plain, valid = front(framework, inputs)
    times, _ = front(framework, inputs, masks=(10, 0), seed=3)
    hidden = (times == 0).all(2)
    np.testing.assert_array_equal(times, np.where(hidden[..., None], 0, plain))
    assert not hidden[~valid].any()
    # Ten masks of 0 to 5 % each, 2.5 % on average, some of them over others.
    assert 0.12 < hidden[valid].mean() < 0.25
    bins, _ = front(framework, inputs, masks=(0, 2), seed=3)
    hidden = (bins == 0).all(1)
    np.testing.assert_array_equal(bins, np.where(hidden[:, None], 0, plain))
    assert hidden.sum(1).max() <= 2 * 26
    assert 0.2 < hidden.mean() < 0.4
    assert not np.array_equal(hidden[0], hidden[1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_spec_augment_draws_alike_whatever_the_length_of_the_batch(framework):
    inputs = utterances(20_000, [12_000, 8_000])
    long, _ = front(framework, inputs, masks=(10, 2), seed=5)
    short, _ = front(framework, [x[:, :13_000] for x in inputs], None, (10, 2), 5)
    frames = short.shape[1]
    np.testing.assert_allclose(long[:, :frames], short, atol=1e-6)
    other, _ = front(framework, inputs, masks=(10, 2), seed=6)
    assert not np.array_equal(long, other)


# Subsampling.


def weights_of_subsampling():
    module = torch_front.Subsample(**SUBSAMPLE)
    random = np.random.default_rng(4)
    return {
        name: random.normal(size=p.shape).astype(np.float32) / 2
        for name, p in module.named_parameters()
    }


def features_of_frames(frames, lengths):
    """Returns random features that are silence from the end of an utterance on."""
    random = np.random.default_rng(5)
    features = random.normal(size=(len(lengths), frames, 80)).astype(np.float32)
    valid = np.arange(frames) < np.array(lengths)[:, None]
    return np.where(valid[..., None], features, -1.2).astype(np.float32), valid


def run_subsampling(framework, features, valid, cotangent):
    """Returns outputs, valid frames and canonical gradients as NumPy."""
    weights = weights_of_subsampling()
    if framework == "pytorch":
        module = torch_front.Subsample(**SUBSAMPLE)
        module.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        x, valid = module(torch.from_numpy(features), torch.from_numpy(valid))
        (x * torch.from_numpy(cotangent)).sum().backward()
        gradients = {k: p.grad.numpy() for k, p in module.named_parameters()}
        return x.detach().numpy(), valid.numpy(), gradients

    def objective(tree):
        x, shown = jax_front.Subsample(**SUBSAMPLE).apply(
            {"params": tree}, features, valid
        )
        return (x * cotangent).sum(), (x, shown)

    gradients, (x, shown) = jax.grad(objective, has_aux=True)(params.to_jax(weights))
    return np.asarray(x), np.asarray(shown), params.from_jax(gradients)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_subsampling_is_the_published_one(framework):
    features, valid = features_of_frames(23, [22, 13, 0])
    cotangent = np.zeros((3, 6, 7), np.float32)
    x, shown, _ = run_subsampling(framework, features, valid, cotangent)
    for i in range(3):
        # The published number of frames is even: one more frame of silence.
        expected, padded = reference.subsample(
            np.vstack([features[i], np.full((1, 80), -1.2)]),
            np.append(~valid[i], True).astype(float),
            weights_of_subsampling(),
        )
        np.testing.assert_array_equal(shown[i], padded[:6] == 0)
        np.testing.assert_allclose(x[i][shown[i]], expected[:6][shown[i]], atol=1e-4)
    assert shown.sum(1).tolist() == [6, 4, 0]


def test_subsampling_has_the_gradients_of_the_plain_formula():
    features, valid = features_of_frames(27, [26, 11])
    cotangent = np.random.default_rng(6).normal(size=(2, 7, 7)).astype(np.float32)
    kernels = {k: torch.from_numpy(v) for k, v in weights_of_subsampling().items()}
    for kernel in kernels.values():
        kernel.requires_grad_()
    x, shown = torch.from_numpy(features)[:, None], torch.from_numpy(valid)[:, :-1]
    for name, border in (("conv1", (0, 1, 0, 0)), ("conv2", (0, 1, 1, 1))):
        x = torch.nn.functional.pad(x, border)
        weight, bias = kernels[f"{name}.weight"], kernels[f"{name}.bias"]
        shown = shown[:, ::2]
        x = torch.nn.functional.conv2d(x, weight, bias, stride=2).relu()
        x = x * shown[:, None, :, None]
    x = x.permute(0, 2, 3, 1).flatten(2)
    x = x @ kernels["linear.weight"].T + kernels["linear.bias"]
    (x * torch.from_numpy(cotangent)).sum().backward()
    for framework in FRAMEWORKS:
        found, _, gradients = run_subsampling(framework, features, valid, cotangent)
        np.testing.assert_allclose(found, x.detach(), rtol=0, atol=1e-4)
        for name, kernel in kernels.items():
            scale = kernel.grad.abs().max().item()
            np.testing.assert_allclose(
                gradients[name] / scale, kernel.grad / scale, rtol=0, atol=1e-5
            )


def test_wide_convolutions_on_the_cpu_have_the_gradients_of_pytorch(monkeypatch):
    monkeypatch.setattr(torch_front, "WIDE", 1)
    test_subsampling_has_the_gradients_of_the_plain_formula()
    test_subsampling_is_the_published_one("pytorch")


def test_the_convolution_on_the_cpu_can_be_differentiated_twice(monkeypatch):
    monkeypatch.setattr(torch_front, "WIDE", 1)
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(torch_front.strided_conv, (x, kernel))
    assert torch.autograd.gradgradcheck(torch_front.strided_conv, (x, kernel))
