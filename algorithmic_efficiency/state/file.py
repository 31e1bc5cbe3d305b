"""The file of a checkpoint: JSON and raw bytes under one checksum.

    8 bytes   magic
    u32 u32   version of the format, flags
    u64       length of the JSON
    JSON      padded with zeros, like each block after it, to 64 bytes
    blocks
    32 bytes  SHA-256 of all before it

All numbers are little-endian. Nothing in it is code, and nothing is read before the
checksum is right.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from algorithmic_efficiency import files
from algorithmic_efficiency.state.parts import Block

_MAGIC = b"algoperf"
_VERSION = 2
_KEEP = 1  # flag: the run was asked to keep its older checkpoints
_HEAD = struct.Struct("<8sIIQ")
_ALIGNMENT = 64
_DIGEST = 32
# How files of the first version begin: torch.save's zip, and msgpack of two entries.
_FORMER = (b"PK\x03\x04", b"\x82\xa4meta")


class Damaged(Exception):  # noqa: N818 - a finding, turned into a StorageError
    """The bytes are not those that were written."""


class OtherVersion(Exception):  # noqa: N818 - a finding, turned into a StorageError
    """A checkpoint in another format."""


def write(path: Path, content: Any, blocks: Iterable[Block], *, keep: bool) -> None:
    """Writes a checkpoint.

    Args:
      content: JSON.
      blocks: of raw bytes.
      keep: a mark, for `is_kept`.
    """
    blocks = list(blocks)
    table = [[b.total, b.low, b.high, b.users] for b in blocks]
    text = json.dumps({"blocks": table, "content": content}).encode()
    with path.open("wb") as file:
        digest = hashlib.sha256()
        head = _HEAD.pack(_MAGIC, _VERSION, _KEEP * keep, len(text))
        _put(file, digest, head + text)
        for block in blocks:
            _put(file, digest, block.read())
        file.write(digest.digest())


def _put(file: BinaryIO, digest: Any, data: Any) -> None:
    size = len(data)
    for part in (data, bytes(-size % _ALIGNMENT)):
        if len(part):
            file.write(part)
            digest.update(part)


def read(path: Path) -> tuple[Any, Sequence[tuple[Block, np.ndarray]]]:
    """Returns the JSON, and each block with its bytes, uint8 [high - low].

    Raises:
      OSError: it is no plain file, or cannot be read.
      Damaged: a bit has flipped, or a part is missing.
      OtherVersion: an earlier or a later version of the project wrote it.
    """
    files.regular(path)
    data = np.fromfile(path, np.uint8)
    start = data[: _HEAD.size].tobytes()
    if start.startswith(_FORMER):
        raise OtherVersion
    if len(data) < _HEAD.size + _DIGEST:
        raise Damaged(f"it ends after {len(data)} bytes")
    if hashlib.sha256(data[:-_DIGEST].data).digest() != data[-_DIGEST:].tobytes():
        raise Damaged("its checksum is wrong")
    magic, version, _, length = _HEAD.unpack(start)
    if magic != _MAGIC or version != _VERSION:
        raise OtherVersion
    header = json.loads(data[_HEAD.size : _HEAD.size + length].tobytes())
    blocks, at = [], _padded(_HEAD.size + length)
    for total, low, high, users in header["blocks"]:
        part = data[at : at + high - low]
        blocks.append((Block(total, low, high, users=users), part))
        at += _padded(high - low)
    return header["content"], blocks


def _padded(size: int) -> int:
    return size + -size % _ALIGNMENT


def is_kept(path: Path) -> bool:
    """Says whether the run that wrote the file was asked to keep it.

    A file that cannot be told is one to keep.
    """
    try:
        with path.open("rb") as file:
            magic, version, flags, _ = _HEAD.unpack(file.read(_HEAD.size))
    except (OSError, struct.error):
        return True
    return bool(magic != _MAGIC or version != _VERSION or flags & _KEEP)
