"""The front of the speech models as published, in NumPy float64, one step at a time."""

import numpy as np

from workloads._librispeech import features as constants

RATE, FRAME, HOP, SIZE = 16_000, 401, 160, 512


def log_mel(audio, paddings):
    """Returns features [T, 80] and paddings [T] of one utterance, no silence added."""
    sound = audio.astype(np.float64) * (1 - paddings) / 32_768
    filters = mel_filters()
    rows, padded = [], []
    for start in range(0, len(sound) - FRAME + 1, HOP):
        x = sound[start : start + FRAME]
        y = np.empty(400)
        y[0] = x[0] * (1 - 0.97)
        y[1:] = x[1:400] - 0.97 * x[:399]
        y *= 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
        power = np.abs(np.fft.rfft(y, SIZE)) ** 2
        rows.append(np.log(np.maximum(power @ filters, 1e-5)))
        padded.append(paddings[start : start + FRAME].min())
    return (np.array(rows) - constants.MEAN) / constants.STDDEV, np.array(padded)


def mel_filters():
    """Returns [257, 80]: each filter rises to 1 at its centre, linearly in mel."""

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    edges = [mel(125) + i * (mel(7600) - mel(125)) / 81 for i in range(82)]
    filters = np.zeros((257, 80))
    for bin_ in range(1, 257):
        place = mel(bin_ * RATE / SIZE)
        for i in range(80):
            below, centre, above = edges[i : i + 3]
            rise = (place - below) / (centre - below)
            fall = (above - place) / (above - centre)
            filters[bin_, i] = max(0.0, min(rise, fall))
    return filters


def strided_conv(x, kernel, bias, pads):
    """Returns relu of a 3x3 convolution of [H, W, C], stride 2, kernel [F, C, 3, 3]."""
    x = np.pad(x, (*pads, (0, 0)))
    height, width = ((size - 3) // 2 + 1 for size in x.shape[:2])
    y = np.empty((height, width, len(bias)))
    for i in range(height):
        for j in range(width):
            seen = x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].transpose(2, 0, 1)
            y[i, j] = np.tensordot(kernel, seen, 3) + bias
    return np.maximum(y, 0)


def subsample(features, paddings, weights):
    """Returns what the subsampling makes of one utterance of an even number of frames.

    SAME padding of the published length: (0, 1), then (1, 1) in time; (0, 1) in
    frequency. Each convolution takes every second padding.
    """
    x = features[:, :, None]
    for name, time in (("conv1", (0, 1)), ("conv2", (1, 1))):
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        paddings = paddings[::2]
        x = strided_conv(x, kernel, bias, (time, (0, 1)))
        x *= 1 - paddings[:, None, None]
    x = x.reshape(len(x), -1)
    return x @ weights["linear.weight"].T + weights["linear.bias"], paddings


def spans(drawn, largest, limit, size):
    """Returns which of `size` places are in one of the spans of one example."""
    hidden = np.zeros(size, bool)
    for u, v in np.asarray(drawn, np.float64):
        width = int(u * largest)
        start = int(v * (limit - width + 1))
        hidden[start : start + width] = True
    return hidden
