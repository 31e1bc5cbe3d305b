"""Which files are decoded: any JPEG or PNG of a photograph's size, nothing else."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from image_trees import JPEG
from test_images import IMAGES

from algorithmic_efficiency.data import BadExample
from workloads._images import headers
from workloads._images.images import Example, decode, encoded

PNG = (IMAGES / "png_of_16_bits.jpeg").read_bytes()
PIXELS = np.arange(20 * 30 * 4, dtype=np.uint8).reshape(20, 30, 4)


def png(pixels, *options):
    return cv2.imencode(".png", pixels, options)[1].tobytes()


@pytest.mark.parametrize("data", [JPEG, PNG, png(PIXELS)])
@pytest.mark.parametrize(
    "more", [b"\n", bytes(63), bytes(64), b"x" * 5000, b"IEND", PNG]
)
def test_bytes_behind_the_end_are_ignored(data, more):
    np.testing.assert_array_equal(decode(data + more, "longer"), decode(data, "whole"))


@pytest.mark.parametrize("data", [JPEG, PNG, png(PIXELS)])
def test_cut_off_is_cut_off_whatever_follows(data):
    with pytest.raises(BadExample, match="cut off"):
        decode(data[: len(data) // 2 + len(data) // 3] + bytes(10), "short")


def chunk(kind, data):
    """Returns a chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def test_word_in_another_chunk_is_not_the_end():
    whole = png(PIXELS)
    data = whole[:-12] + chunk(b"tEXt", b"Comment\0about IEND")
    decode(data + whole[-12:], "whole")
    with pytest.raises(BadExample, match="end chunk is missing"):
        decode(data, "short")


def test_channels_depths_and_palettes_become_rgb():
    colour = PIXELS[..., 2::-1]
    for image, expected in [
        (PIXELS, colour),
        (PIXELS[..., :3].astype(np.uint16) * 257, colour),
        (PIXELS[..., 0], np.repeat(PIXELS[..., :1], 3, 2)),
        (PIXELS[..., 0].astype(np.uint16) * 257, np.repeat(PIXELS[..., :1], 3, 2)),
    ]:
        np.testing.assert_array_equal(decode(png(image), "png"), expected)
    bits = np.unpackbits(PIXELS[:, :4, 0], 1)[..., None] * np.uint8([0, 0, 255])
    np.testing.assert_array_equal(decode(palette(bits), "palette"), bits[..., ::-1])


def palette(image):
    """Returns a PNG of one bit a pixel, which is black or red."""
    height, width = image.shape[:2]
    rows = np.packbits(image[..., 2] > 0, 1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0]))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


OTHERS = {
    "a GIF": b"GIF89a" + bytes(90),
    "a WebP": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(90),
    "a BMP": cv2.imencode(".bmp", PIXELS[..., :3])[1].tobytes(),
    "a TIFF": b"II*\0" + bytes(90),
    "a HEIF or AVIF": b"\0\0\0\x1cftypavif" + bytes(90),
    "not an image": b"<html>404</html>",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_kinds_are_refused_by_name(what):
    with pytest.raises(BadExample, match=f"x: is {what}, expected a JPEG or PNG"):
        decode(OTHERS[what], "x")


def claiming(data, kind):
    """Changes the size in a header to 100,000 or 65,000 pixels a side."""
    if kind == "png":
        return data[:16] + struct.pack(">II", 100_000, 100_000) + data[24:]
    at = next(k for k in range(len(data)) if data[k] == 0xFF and data[k + 1] == 0xC0)
    return data[: at + 5] + struct.pack(">HH", 65_000, 65_001) + data[at + 9 :]


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (PNG, "png", "claims 100,000 x 100,000 pixels, at most 134,217,728 are"),
        (JPEG, "jpeg", "claims 65,001 x 65,000 pixels, at most"),
    ],
)
def test_size_is_bounded_before_decoding(data, kind, words, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)  # is not asked
    with pytest.raises(BadExample, match=words):
        decode(claiming(data, kind), "bomb")


def test_large_photographs_are_decoded():
    image = np.zeros((6_530, 9_331), np.uint8)
    data = cv2.imencode(".jpg", image)[1].tobytes()
    assert decode(data, "large").shape == (6_530, 9_331, 3)


def test_files_without_end_and_pipes_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.JPEG"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadExample, match="It has 1,099,511,627,776 bytes, at most"):
        encoded(Example(str(path), 0, "a"))
    for other, words in ((tmp_path, "It is no file"), ("/dev/zero", "It is no file")):
        with pytest.raises(BadExample, match=words):
            encoded(Example(str(other), 0, "a"))
    path.write_bytes(JPEG)
    assert encoded(Example(str(path), 0, "a")) == JPEG
    assert headers.MOST_BYTES < 1 << 40
