"""What the bytes of an image file say before they are decoded: kind, size and end.

OpenCV may fill the missing part of a cut-off file with grey, and takes what memory a
header asks for; so both are looked at before.
"""

from collections.abc import Iterator

MOST_PIXELS = 1 << 27  # 134 megapixels, 400 MB decoded
MOST_BYTES = 256 << 20  # of a file

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # headers with the size
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers TEM, RST0-7 and SOI
_OTHERS = {  # first bytes -> what is refused by its name
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
}


def fault(data: bytes) -> str:
    """Says why an image file is not decoded; '' where nothing speaks against it.

    It has to be a JPEG with an end-of-image marker after the start of its scan (a
    thumbnail's marker lies before) or a PNG with its IEND chunk, whatever follows, and
    no larger than photographs are. Damage inside a complete file is not seen.
    """
    if not data:
        return "is empty"
    if data.startswith(_JPEG):
        return _jpeg_fault(data)
    if data.startswith(_PNG):
        return _png_fault(data)
    if _PNG.startswith(data[:8]):
        return "is a PNG that is cut off"
    kind = next((k for start, k in _OTHERS.items() if data.startswith(start)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "a WebP"
    if data[4:8] == b"ftyp":
        kind = "a HEIF or AVIF"
    return f"is {kind or 'not an image'}, expected a JPEG or PNG"


def _jpeg_fault(data: bytes) -> str:
    scan = -1
    for marker, at in _jpeg_segments(data):
        if marker in _FRAMES:
            size = data[at + 5 : at + 9]
            if why := _size_fault(int.from_bytes(size[2:]), int.from_bytes(size[:2])):
                return why
        if marker == _START_OF_SCAN:
            scan = at
            break
    if scan < 0:
        return "is a JPEG that ends within its header"
    if data.rfind(_END_OF_IMAGE, scan) < 0:
        return "is a JPEG that is cut off: its end-of-image marker is missing"
    return ""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields (marker, its place) of the segments of a header (ITU T.81, annex B)."""
    at = 2
    while at < len(data) - 3:
        at = data.find(b"\xff", at)
        if at < 0 or at + 3 >= len(data):
            return
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at
        length = 0
        if marker not in _WITHOUT_LENGTH:
            length = int.from_bytes(data[at + 2 : at + 4])
        at += 2 + length


def _png_fault(data: bytes) -> str:
    """Goes from chunk to chunk up to the last one (PNG specification, section 5)."""
    at = len(_PNG)
    if why := _size_fault(*(int.from_bytes(data[k : k + 4]) for k in (16, 20))):
        return why
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND" and at <= len(data):
            return ""
    return "is a PNG that is cut off: its end chunk is missing"


def _size_fault(width: int, height: int) -> str:
    if width * height <= MOST_PIXELS:
        return ""
    return f"claims {width:,} x {height:,} pixels, at most {MOST_PIXELS:,} are decoded"
