"""The numbers of the audio front end, and what the subsampling does to lengths.

Published with AlgoPerf's LibriSpeech workloads; NumPy, for both frameworks.
"""

import numpy as np

SAMPLE_RATE = 16_000  # per second
WINDOW_SIZE = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FRAME = WINDOW_SIZE + 1  # samples that decide whether a frame is padding
FFT_SIZE = 512
BINS = 80  # of the mel scale
PRE_EMPHASIS = 0.97
FLOOR = 1e-5  # of the power in a bin, under the logarithm
_LOWEST, _HIGHEST = 125.0, 7600.0  # Hz, the edges of the mel bins
_SAMPLE_SCALE = 2.0**-15  # samples are whole numbers of 16 bits

# SpecAugment (Park et al., 2019), beside the number of masks.
TIME_MASK_SHARE = 0.05  # of the valid frames, the longest time mask
FREQUENCY_MASK_BINS = 27  # the widest frequency mask, exclusive

# Zeros around the subsampling convolutions (before, after), whatever the length: SAME
# padding for the published 1998 frames. The first one's later frame is silence instead,
# as it is at the end of every utterance that is shorter than the batch.
TIME_PADS = ((0, 0), (1, 1))
FREQUENCY_PADS = ((0, 1), (0, 1))

# Of the logarithmic mel features of LibriSpeech, bin by bin.
_MEAN = """
    -7.604782 -7.120623 -6.886425 -6.870577 -6.966772 -7.108409 -6.952803 -6.783994
    -6.619552 -6.487627 -6.412066 -6.394048 -6.424487 -6.399371 -6.515827 -6.713800
    -6.847688 -6.988500 -6.922139 -7.146149 -7.204040 -7.053755 -7.314038 -7.122325
    -7.302514 -7.121214 -7.242573 -7.173054 -7.097941 -7.088748 -6.984991 -6.878773
    -6.760275 -6.630095 -6.514577 -6.424506 -6.356514 -6.317876 -6.266077 -6.246833
    -6.282153 -6.190839 -6.248435 -6.147264 -6.092473 -6.017100 -5.925040 -5.853583
    -5.820911 -5.811893 -5.807837 -5.771463 -5.745373 -5.770566 -5.776564 -5.783167
    -5.795409 -5.799482 -5.802348 -5.804712 -5.816818 -5.884480 -5.972711 -6.044466
    -6.128487 -6.225759 -6.315750 -6.390612 -6.492860 -6.549846 -6.605432 -6.650838
    -6.669176 -6.672689 -6.684235 -6.697458 -6.754718 -6.794914 -6.863421 -6.941865
"""
_STDDEV = """
    3.435328 3.596293 3.701247 3.736921 3.753510 3.693629 3.692250 3.764152
    3.841972 3.899985 3.929424 3.931741 3.913959 3.903160 3.869200 3.815508
    3.764497 3.709911 3.696509 3.600377 3.549323 3.546512 3.450036 3.471281
    3.408461 3.440814 3.410488 3.421764 3.431285 3.419921 3.430581 3.438267
    3.458037 3.481799 3.495871 3.503679 3.504757 3.498873 3.493056 3.482294
    3.459430 3.461277 3.455906 3.475542 3.497155 3.532656 3.570520 3.592031
    3.596907 3.591350 3.586593 3.582681 3.583774 3.589579 3.581931 3.583787
    3.586118 3.588959 3.592215 3.593946 3.585663 3.588411 3.592102 3.587049
    3.580657 3.573107 3.561753 3.549807 3.552737 3.547537 3.538785 3.525618
    3.503184 3.492273 3.487965 3.472559 3.455839 3.435183 3.428429 3.429917
"""
MEAN = np.array(_MEAN.split(), np.float32)
STDDEV = np.array(_STDDEV.split(), np.float32)


def padded_samples(samples: int) -> int:
    """Returns how many samples to compute features of, given the length of a batch.

    Enough for every frame with a sample of the batch in it, so that a batch gives its
    utterances the same frames whatever its length, and for the silence after them: an
    odd number of frames, of which a convolution of 3 frames with stride 2 leaves half.
    """
    pairs = -(-samples // (2 * HOP))
    return 2 * pairs * HOP + FRAME


def window() -> np.ndarray:
    """Returns the periodic Hann window for samples n = 1..399 of a frame, float32.

    It is 0 for sample 0, the one whose pre-emphasis depends on where a frame starts:
    HTK's 0.03 x[0] in place of x[0] - 0.97 x[-1]. So the pre-emphasis of the whole
    signal serves every frame. The scale of the samples is in it too.
    """
    n = np.arange(1, WINDOW_SIZE)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * n / WINDOW_SIZE)
    return (hann * _SAMPLE_SCALE).astype(np.float32)


def mel_filters() -> np.ndarray:
    """Returns the weights of the power spectrum in the mel bins, float32 [257, 80].

    Triangles that are linear in mel = 1127 ln(1 + f / 700 Hz), as HTK has them: peak 1,
    nothing of the constant part, no normalisation of areas.
    """
    hertz = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE / FFT_SIZE)
    edges = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), BINS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    place = _mel(hertz)[:, None]
    rising, falling = (
        (place - lower) / (centre - lower),
        (upper - place) / (upper - centre),
    )
    filters = np.maximum(0.0, np.minimum(rising, falling))
    filters[0] = 0.0
    return filters.astype(np.float32)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))
