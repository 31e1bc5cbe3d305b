"""The front of the speech models in JAX: features, SpecAugment, subsampling."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from algorithmic_efficiency.backends.jax_ops import JaxOps
from algorithmic_efficiency.nn import jax_cpu
from algorithmic_efficiency.nn.batch_norm import jax_family
from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm
from algorithmic_efficiency.nn.jax import ACTIVATIONS, Dense
from workloads._librispeech import features as constants
from workloads._librispeech.metrics import best_labels

Inputs = tuple[jax.Array, jax.Array]  # audio [B, S] in units of 16 bits, paddings


class FrontEnd(nn.Module):
    """Audio to normalised logarithmic mel features; it has no parameters.

    Attributes:
      time_masks, frequency_masks: how many each example gets while training.
    """

    time_masks: int
    frequency_masks: int

    @nn.compact
    def __call__(
        self, inputs: Inputs, weights: jax.Array | None, *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Returns features [B, T, 80] and which frames are valid, bool [B, T].

        Args:
          inputs: audio and paddings, 1 from the first sample that does not count.
          weights: [B], 0 where an example is padding; None: all are real.
          train: whether SpecAugment is on; it draws from the rng 'dropout'.
        """
        audio, paddings = inputs
        features = log_mel(audio, paddings)
        # A frame counts if any of its samples does, so if its first one does.
        starts = paddings[:, :: constants.HOP] == 0
        valid = jnp.pad(starts, ((0, 0), (0, features.shape[1] - starts.shape[1])))
        if weights is not None:
            valid = valid & (weights != 0)[:, None]
        if train and (self.time_masks or self.frequency_masks):
            masks = (self.time_masks, self.frequency_masks)
            features = spec_augment(self.make_rng("dropout"), features, valid, masks)
        return features, valid


def log_mel(audio: jax.Array, paddings: jax.Array) -> jax.Array:
    """Returns features [B, T, 80] of padded audio, T being odd; see `features`."""
    missing = constants.padded_samples(audio.shape[1]) - audio.shape[1]
    sound = jnp.pad(audio - audio * paddings, ((0, 0), (0, missing)))
    sound = sound[:, 1:] - constants.PRE_EMPHASIS * sound[:, :-1]
    window = constants.window()
    starts = jnp.arange(0, sound.shape[1] - len(window) + 1, constants.HOP)
    frames = sound[:, starts[:, None] + jnp.arange(len(window))] * window
    spectrum = jnp.fft.rfft(frames, constants.FFT_SIZE)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    mel = jnp.maximum(power @ constants.mel_filters(), constants.FLOOR)
    return (jnp.log(mel) - constants.MEAN) / constants.STDDEV


def spec_augment(
    rng: jax.Array, features: jax.Array, valid: jax.Array, masks: tuple[int, int]
) -> jax.Array:
    """Returns features with random spans of frames and of bins set to 0.

    Args:
      rng: as many draws are made of it whatever the length.
      features: [B, T, 80].
      valid: bool [B, T]; the spans of frames lie among the valid ones.
      masks: how many spans of frames and of bins.
    """
    length = valid.sum(1, dtype=features.dtype)[:, None]
    bounds = (
        (length * constants.TIME_MASK_SHARE, length),
        (jnp.float32(constants.FREQUENCY_MASK_BINS), jnp.float32(constants.BINS)),
    )
    for axis, (largest, limit) in enumerate(bounds, start=1):
        shape = (len(features), masks[axis - 1], 2)
        drawn = jax.random.uniform(jax.random.fold_in(rng, axis), shape)
        hidden = spans(drawn, largest, limit, features.shape[axis])
        features = jnp.where(jnp.expand_dims(hidden, 3 - axis), 0.0, features)
    return features


def spans(
    drawn: jax.Array, largest: jax.Array, limit: jax.Array, size: int
) -> jax.Array:
    """Returns which of `size` places lie in a random span, bool [B, size].

    Args:
      drawn: in [0, 1), [B, spans, 2]: the width and the place of each span.
      largest: the bound of the widths, broadcastable to [B, spans].
      limit: the spans lie in the first `limit` places; likewise.
      size: all places.
    """
    width = jnp.floor(drawn[..., 0] * largest)
    start = jnp.floor(drawn[..., 1] * (limit - width + 1))
    place = jnp.arange(size)
    inside = (place >= start[..., None]) & (place < (start + width)[..., None])
    return inside.any(1)


class StridedConv(nn.Module):
    """The parameters of a 3x3 convolution with stride 2; they start at zero."""

    features: int

    @nn.compact
    def __call__(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Returns kernel [3, 3, channels, features] and bias [features]."""
        shape = (3, 3, channels, self.features)
        kernel = self.param("kernel", nn.initializers.zeros, shape)
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


class Subsample(nn.Module):
    """Two strided convolutions and a dense layer: a quarter of the frames.

    `activation` must map 0 to 0, which keeps padded frames at 0.
    """

    channels: int
    features: int
    activation: str

    @nn.compact
    def __call__(
        self, features: jax.Array, valid: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns [B, ceil(T / 4), features], and which of its frames are valid.

        Args:
          features: [B, T, 80], T odd.
          valid: bool [B, T].
        """
        act = ACTIVATIONS[self.activation]
        valid = valid[:, : features.shape[1] - 1 : 2]
        kernel, bias = StridedConv(self.channels, name="conv1")(1)
        x = act(_first(features, valid, jnp.vstack([kernel.reshape(9, -1), bias])))
        valid = valid[:, ::2]
        kernel, bias = StridedConv(self.channels, name="conv2")(self.channels)
        x = act(strided_conv(x, kernel) + bias) * valid[:, :, None, None]
        x = x.reshape(*x.shape[:2], -1)
        return Dense(self.features, name="linear")(x), valid


def _first(features: jax.Array, valid: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the first convolution with the zeros around it that the second needs.

    As a product of the windows: those outside, and of padded frames, are 0 and have no
    bias, so that no mask and no padding has to touch the large result.

    Args:
      features: [B, T, 80].
      valid: bool [B, T // 2].
      kernel: [10, channels], the last row being the bias.
    """
    (before, after), (_, right) = constants.TIME_PADS[1], constants.FREQUENCY_PADS[1]
    bins = (0, constants.FREQUENCY_PADS[0][1] + 2 * right)
    padded = jnp.pad(features, ((0, 0), (2 * before, 2 * after), bins))
    windows = _windows(padded[..., None])
    inside = jnp.pad(valid, ((0, 0), (before, after)))[:, :, None]
    inside = inside & (jnp.arange(windows[0].shape[2]) < constants.BINS // 2)
    one = jnp.ones_like(windows[0])
    rows = jnp.concatenate([*windows, one], -1) * inside[..., None]
    product = jax_cpu.matmul(rows.reshape(-1, len(kernel)), kernel)
    return product.reshape(*rows.shape[:-1], -1)


def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves [B, H, W, C] with [3, 3, C, F], stride 2, without padding."""
    if jax.default_backend() == "cpu":  # nine products are faster there
        kernels = kernel.reshape(9, *kernel.shape[2:])
        products = [window @ k for window, k in zip(_windows(x), kernels, strict=True)]
        return sum(products[1:], products[0])
    y: jax.Array = lax.conv_general_dilated(
        x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y


def _windows(x: jax.Array) -> list[jax.Array]:
    """Returns what each of the 3x3 places of the windows sees, [B, H', W', C]."""
    height, width = ((size - 1) // 2 for size in x.shape[1:3])
    return [
        x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]


def batch_norm(name: str, momentum: float = 0.001, norm: str = "batch") -> BatchNorm:
    """Returns the published batch norm of the speech models.

    `norm` is a word of `batch_norm.norms`: another member of the family.
    """
    return jax_family.batch_norm(
        norm,
        momentum=momentum,
        epsilon=1e-3,
        variance="population",
        zero_centered_scale=True,
        name=name,
    )


def evaluate(model: nn.Module, variables: Any, batch: Mapping[str, Any]) -> Any:
    """Returns what the metrics need of the outputs; see `metrics.best_labels`."""
    outputs = model.apply(variables, batch, train=False, use_running_average=True)
    return best_labels(JaxOps(), batch, outputs)
