"""Decoding, cropping and resizing, against pixels known by other means."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from algorithmic_efficiency.data import BadExample
from workloads._images.images import (
    Element,
    Example,
    Normalise,
    central_crop,
    decode,
    encoded,
    random_crop,
    resize,
)

IMAGES = Path(__file__).parents[1] / "data" / "images"
# The four quarters that every image there shows, and how they look without colour.
RGB = np.array([[220, 30, 30], [30, 200, 40], [40, 50, 210], [240, 240, 240]])
GRAY = np.repeat(np.rint(RGB @ [0.299, 0.587, 0.114]), 3).reshape(4, 3)


def quarters(image):
    height, width = image.shape[:2]
    ys, xs = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return np.array([image[y, x] for y in ys for x in xs]).astype(int)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("rgb.jpeg", RGB, 6),
        ("progressive.jpeg", RGB, 6),
        ("with_thumbnail.jpeg", RGB, 6),
        ("rotated_by_exif.jpeg", RGB, 6),
        ("png_of_16_bits.jpeg", RGB, 0),
        ("gray.jpeg", GRAY, 3),
        ("cmyk.jpeg", RGB, 12),
    ],
)
def test_every_kind_of_file_becomes_rgb(name, expected, tolerance):
    image = decode((IMAGES / name).read_bytes(), name)
    assert image.shape == (24, 32, 3) and image.dtype == np.uint8
    assert np.abs(quarters(image) - expected).max() <= tolerance


@pytest.mark.parametrize("name", sorted(path.name for path in IMAGES.iterdir()))
def test_cut_off_file_is_seen_at_any_length(name):
    data = (IMAGES / name).read_bytes()
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(BadExample, match=name):
            decode(data[:length], name)


def test_what_follows_the_image_is_ignored():
    data = (IMAGES / "rgb.jpeg").read_bytes()
    image = decode(data, "whole")
    np.testing.assert_array_equal(decode(data + b"\0\0more", "longer"), image)


def test_other_files_are_bad_examples(tmp_path):
    with pytest.raises(BadExample, match="text: is not an image"):
        decode(b"what a picture", "text")
    path = str(tmp_path / "gone.jpeg")
    with pytest.raises(BadExample, match="gone.jpeg: cannot be read .No such file"):
        encoded(Example(path, 0, path))
    assert encoded(Example(b"bytes", 0, "held")) == b"bytes"


def test_random_crops_have_the_published_distribution():
    height, width = 300, 400
    places = np.arange(height * width).reshape(height, width, 1)
    rng = np.random.default_rng(0)
    crops = [
        random_crop(places, (0.08, 1.0), (3 / 4, 4 / 3), rng)[..., 0]
        for _ in range(3000)
    ]
    share = np.array([crop.size / places.size for crop in crops])
    ratio = np.array([crop.shape[1] / crop.shape[0] for crop in crops])
    assert 0.079 < share.min() < 0.1 and share.max() > 0.9
    assert 0.74 < ratio.min() < 0.77 and 1.30 < ratio.max() < 1.34
    small = share < 0.5  # these fit whatever their ratio: no draw is repeated
    np.testing.assert_allclose(share[small].mean(), (0.08 + 0.5) / 2, atol=0.01)
    np.testing.assert_allclose(np.log(ratio[small]).mean(), 0, atol=0.02)
    np.testing.assert_allclose(
        np.log(ratio[small]).std(), np.log(16 / 9) / 12**0.5, 0.03
    )
    top, left = np.divmod([crop[0, 0] for crop in crops], width)
    rest = np.array([(height - c.shape[0], width - c.shape[1]) for c in crops])
    assert (top <= rest[:, 0]).all() and (left <= rest[:, 1]).all()
    np.testing.assert_allclose((top / np.maximum(rest[:, 0], 1)).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(
        (left / np.maximum(rest[:, 1], 1)).mean(), 0.5, atol=0.03
    )


@pytest.mark.parametrize(
    ("shape", "expected"), [((20, 400), (20, 27)), ((400, 20), (27, 20))]
)
def test_crop_falls_back_to_the_centre(shape, expected):
    image = np.arange(8000).reshape(*shape, 1)
    crop = random_crop(image, (0.9, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0))
    assert crop.shape[:2] == expected
    top, left = divmod(int(crop[0, 0, 0]), shape[1])
    assert abs(2 * top + expected[0] - shape[0]) <= 1
    assert abs(2 * left + expected[1] - shape[1]) <= 1


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (130, 90)])
def test_evaluation_is_the_centre_of_the_resized_image(height, width):
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    image = np.rint(255 * np.stack([x, y, x], axis=-1)).astype(np.uint8)
    result = resize(central_crop(image, 48 / 56), 48)
    # Where the centres of the result's pixels lie in the image, in its pixels.
    at = (np.arange(48) + 0.5 - 24) * min(height, width) / 56 - 0.5
    expected_x, expected_y = at + width / 2, at + height / 2
    # Half a pixel of the result is what cutting off to whole blocks may move, and one
    # step of brightness what the ramp cannot tell.
    half = min(height, width) / 56 / 2
    x, y = result[24, :, 0] * (width / 255), result[:, 24, 1] * (height / 255)
    assert np.abs(x - expected_x).max() < half + width / 255
    assert np.abs(y - expected_y).max() < half + height / 255
    element = Element(48, 56, (0.08, 1.0), (3 / 4, 4 / 3))
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    fields = element(Example(png, 3, "ramp"), None)
    np.testing.assert_array_equal(fields["inputs"], result)
    assert fields["targets"] == 3 and fields["targets"].dtype == np.int32


def test_resizing_averages_blocks_and_then_interpolates():
    image = np.random.default_rng(0).integers(0, 256, (97, 98, 3), np.uint8)
    blocks = image[0:96, 1:97].astype(float).reshape(32, 3, 32, 3, 3).mean((1, 3))
    assert np.abs(resize(image, 32) - blocks).max() <= 0.5
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    # Centres of the result lie at 0.5 / 30 * 40 - 0.5 + k * 40 / 30 pixels.
    at = (np.arange(30) + 0.5) * 4 / 3 - 0.5
    expected = np.interp(at, [19, 20], [0, 200])
    assert np.abs(resize(step, 30)[7, :, 1] - expected).max() <= 1


def test_half_of_the_training_images_are_flipped():
    ramp = np.tile(np.arange(0, 240, 4, np.uint8)[None, :, None], (60, 1, 3))
    png = cv2.imencode(".png", ramp)[1].tobytes()
    element = Element(30, 30, (0.5, 1.0), (3 / 4, 4 / 3))
    rng = np.random.default_rng(1)
    images = [element(Example(png, 0, "r"), rng)["inputs"] for _ in range(300)]
    falling = [int(image[5, 0, 0]) > int(image[5, -1, 0]) for image in images]
    assert 0.42 < np.mean(falling) < 0.58


def test_normalising_takes_each_channel_by_itself():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 5, 7, 3), np.uint8)
    mean, stddev = (120.0, 110.5, 100.25), (60.0, 50.0, 40.0)
    batch = {"inputs": pixels, "targets": np.arange(3)}
    result = Normalise(mean, stddev)(batch)
    assert result["inputs"].dtype == np.float32 and batch["inputs"] is pixels
    expected = (pixels.astype(float) - mean) / stddev
    np.testing.assert_allclose(result["inputs"], expected, atol=1e-6)
    np.testing.assert_array_equal(result["targets"], np.arange(3))
