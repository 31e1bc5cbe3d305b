"""Each operation of RandAugment against its definition, written in NumPy."""

import numpy as np
import pytest

from workloads._imagenet import randaugment
from workloads._imagenet.randaugment import OPERATIONS, RandAugment

NAMES = [
    "autocontrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "cutout",
]
HOW = RandAugment(translation=5, cutout=4)


def picture(height=23, width=23, seed=0):
    """Smooth colours with an edge; not all levels are there."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([60 + 5 * x, 40 + 3 * y + 2 * x, 200 - 4 * y], -1).astype(float)
    image[5:12, 8:20] = random.uniform(20, 230, 3)
    noise = random.normal(0, 4, image.shape)
    return np.clip(image + noise, 12, 240).astype(np.uint8)


def apply(name, image=None, seed=0):
    image = picture() if image is None else image
    kept = image.copy()
    image.setflags(write=False)
    result = OPERATIONS[NAMES.index(name)](HOW, image, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, kept)
    assert result.shape == image.shape and result.dtype == np.uint8
    return result


def near(found, expected, tolerance=1):
    """Rounding apart: Pillow computes in float32 or in whole numbers."""
    expected = np.clip(expected, 0, 255)
    assert abs(found.astype(float) - expected).max() <= tolerance


def grey(image):
    """The luma of ITU-R 601."""
    return np.round(image @ np.array([0.299, 0.587, 0.114]))[..., None]


def test_there_are_sixteen():
    assert len(OPERATIONS) == len(NAMES) == 16


def test_levels():
    image = picture()
    np.testing.assert_array_equal(apply("invert"), 255 - image)
    np.testing.assert_array_equal(apply("posterize"), image // 16 * 16)
    np.testing.assert_array_equal(apply("solarize"), image)
    brighter = np.minimum(image.astype(int) + 110, 255)
    added = np.where(image < 128, brighter, image)
    np.testing.assert_array_equal(apply("solarize_add"), added)


def test_autocontrast_stretches_each_channel():
    image = picture().astype(float)
    low, high = image.min((0, 1)), image.max((0, 1))
    near(apply("autocontrast"), (image - low) * 255 / (high - low))
    flat = np.full((6, 6, 3), 77, np.uint8)
    np.testing.assert_array_equal(apply("autocontrast", flat), flat)


def test_equalize_spreads_the_levels_of_each_channel():
    image, result = picture(), apply("equalize")
    for channel in range(3):
        before, after = image[..., channel], result[..., channel]
        counts = np.bincount(before.ravel(), minlength=256)
        last = counts[counts > 0][-1]
        step = (counts.sum() - last) // 255
        below = np.cumsum(counts) - counts
        table = np.minimum((below + step // 2) // step, 255)
        np.testing.assert_array_equal(after, table[before])


def test_enhancements_go_away_from_what_they_would_remove():
    image = picture().astype(float)
    mean = int(grey(image).mean() + 0.5)
    without = {
        "color": grey(image),
        "contrast": mean,
        "brightness": 0.0,
        "sharpness": smooth(image),
    }
    for name, plain in without.items():
        near(apply(name), plain + 1.9 * (image - plain), 2)


def smooth(image):
    """A 3 x 3 mean in which the centre counts five times; the border is kept."""
    total = 4 * image
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            total = total + np.roll(image, (dy, dx), (0, 1))
    result = image.copy()
    result[1:-1, 1:-1] = np.round(total / 13)[1:-1, 1:-1]
    return result


GEOMETRY = {
    "rotate": lambda x, y, sign: turned(x, y, np.deg2rad(sign * 30)),
    "shear_x": lambda x, y, sign: (x + sign * 0.3 * y, y),
    "shear_y": lambda x, y, sign: (x, y + sign * 0.3 * x),
    "translate_x": lambda x, y, sign: (x + sign * 5, y),
    "translate_y": lambda x, y, sign: (x, y + sign * 5),
}


def turned(x, y, angle, middle=11.5):
    """The place from which a point comes where the image turns against the clock."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = x - middle, y - middle
    return cos * x - sin * y + middle, sin * x + cos * y + middle


@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_takes_the_nearest_pixel_or_grey(name):
    image = picture()
    y, x = np.mgrid[:23, :23] + 0.5  # the centres of pixels
    expected = {}
    for sign in (1, -1):
        column, row = (np.floor(v).astype(int) for v in GEOMETRY[name](x, y, sign))
        inside = (column >= 0) & (column < 23) & (row >= 0) & (row < 23)
        taken = image[row.clip(0, 22), column.clip(0, 22)]
        expected[sign] = np.where(inside[..., None], taken, 128)
    signs = set()
    for seed in range(8):
        found = apply(name, seed=seed)
        equal = {s: (found == e).all(-1).mean() for s, e in expected.items()}
        best = max(equal, key=equal.get)
        # A turn may fall between two pixels, and rounding decides.
        assert equal[best] >= (0.98 if name == "rotate" else 1.0), equal
        signs.add(best)
    assert signs == {1, -1}


def test_cutout_hides_a_square_that_the_edges_cut():
    sizes = set()
    for seed in range(60):
        image = np.zeros((23, 23, 3), np.uint8)
        hidden = apply("cutout", image, seed)[..., 0] == 128
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        assert hidden.sum() == len(rows) * len(columns)
        for place in (rows, columns):
            assert 4 <= len(place) <= 8
            assert len(place) == 8 or place[0] == 0 or place[-1] == 22
        sizes.add((len(rows), len(columns)))
    assert (8, 8) in sizes and len(sizes) > 10


def test_two_operations_are_drawn_with_replacement(monkeypatch):
    drawn = []
    operations = [
        lambda how, image, rng, number=number: drawn.append(number) or image
        for number in range(16)
    ]
    monkeypatch.setattr(randaugment, "OPERATIONS", operations)
    augment, image, rng = RandAugment(), picture(), np.random.default_rng(0)
    for _ in range(2_000):
        augment(image, rng)
    pairs = np.array(drawn).reshape(-1, 2)
    assert len(pairs) == 2_000
    counts = np.bincount(pairs.ravel(), minlength=16)
    assert abs(counts - 250).max() < 5 * np.sqrt(250)
    assert abs((pairs[:, 0] == pairs[:, 1]).mean() - 1 / 16) < 0.03


def test_the_generator_alone_decides():
    augment = RandAugment(100, 40)
    image = picture(64, 64)
    results = [augment(image, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any() and (results[2] != results[3]).any()
