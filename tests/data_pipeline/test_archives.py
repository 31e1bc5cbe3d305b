"""Archives that nobody vouches for: nothing leaves the folder, no claim is believed."""

import bz2
import gzip
import io
import lzma
import os
import tarfile

import pytest
from image_trees import JPEG
from tar_files import BASE, VAL, WNIDS, run, tar_of, train_tar, write_tars, written

from dataset_setup import archives, check

ESCAPES = [
    "../../../escaped.JPEG",
    "/tmp/escaped.JPEG",
    "..\\..\\escaped.JPEG",
    "C:\\escaped.JPEG",
    "C:escaped.JPEG",
    "a/../../../../escaped.JPEG",
    "n01/../../escaped.JPEG",
    "../escaped.JPEG",
    "..",
    "./..",
    "\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/escaped.JPEG",
    "\N{TWO DOT LEADER}/escaped.JPEG",
    "..\N{DIVISION SLASH}escaped.JPEG",
    "0/\x1b[2Jescaped.JPEG",
    "0/escaped.JPEG\n",
    "0/escaped\0.JPEG",
    "0/con:escaped.JPEG",
    "0/\udce9scaped.JPEG",
]
KINDS = {
    "symlink": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
    "link upwards": {"type": tarfile.SYMTYPE, "linkname": "../../../.."},
    "device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    "block device": {"type": tarfile.BLKTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
}


@pytest.fixture
def tars(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASE", BASE)
    tars = write_tars(tmp_path / "tars")
    (tars / "labels.txt").write_text("n01\n" * 4)
    return tars


def unpack(tmp_path, tars, which):
    options = [f"--{which}_tar={tars}/{which}.tar"]
    if which == "val":
        options.append(f"--val_labels={tars}/labels.txt")
    return run(tmp_path, *options)


def sentence(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_leaves_the_folder(tmp_path, tars, name, capsys):
    images = {f"{v}.JPEG": JPEG for v in VAL}
    classes = {f"{w}.tar": tar_of({"a.JPEG": JPEG, name: JPEG}) for w in WNIDS}
    classes[f"{name}.tar"] = tar_of({"a.JPEG": JPEG})
    for which, files in {
        "train": classes,
        "val": {name: JPEG, **images},
        "test": {name: JPEG, "0/a.JPEG": JPEG},
    }.items():
        (tars / f"{which}.tar").write_bytes(tar_of(files))
        unpack(tmp_path, tars, which)
    root = "data/imagenet"
    found = written(tmp_path)
    assert {f"{root}/train/{w}/a.JPEG" for w in WNIDS} < set(found)
    assert f"{root}/imagenet_v2/0/a.JPEG" in found
    names = {path.rpartition("/")[2] for path in found}
    assert names <= {"a.JPEG", "escaped.JPEG", *images}
    inside = (f"{root}/train/", f"{root}/val/", f"{root}/imagenet_v2/0/")
    assert all(path.startswith(inside) and path.count("/") == 4 for path in found)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


def test_names_that_were_left_out_are_told(tmp_path, tars, capsys):
    files = {"0/a.JPEG": JPEG, "../b.JPEG": JPEG, "0/c.txt": b"text", "0/._a.JPEG": b""}
    (tars / "test.tar").write_bytes(tar_of(files))
    unpack(tmp_path, tars, "test")
    out = capsys.readouterr().out
    assert f"Left out of {tars}/test.tar: '../b.JPEG', '0/c.txt'.\n" in out


@pytest.mark.parametrize("kind", KINDS)
def test_only_plain_files_are_written(tmp_path, tars, kind, capsys):
    buffer = io.BytesIO(tar_of({"0/a.JPEG": JPEG}))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for name in ("0/b.JPEG", "0"):
            info = tarfile.TarInfo(name)
            for field, value in KINDS[kind].items():
                setattr(info, field, value)
            tar.addfile(info)
        info = tarfile.TarInfo("0/b.JPEG")
        info.size = len(JPEG)
        tar.addfile(info, io.BytesIO(JPEG))
    (tars / "test.tar").write_bytes(buffer.getvalue())
    unpack(tmp_path, tars, "test")
    root = tmp_path / "data" / "imagenet" / "imagenet_v2" / "0"
    assert [p.read_bytes() for p in sorted(root.iterdir())] == [JPEG, JPEG]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert "'0/b.JPEG'" in capsys.readouterr().out


def header(name, size, kind=tarfile.REGTYPE, **fields):
    """Returns the header of a file that has so many bytes, it says."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(fields.get("format", tarfile.GNU_FORMAT))


def pax(name, records):
    """Returns a file with an extended header."""
    lines = b"".join(
        f"{len(r) + len(str(len(r) + 4)) + 2} {r}\n".encode() for r in records
    )
    block = lines + bytes(-len(lines) % 512)
    return (
        header("x", len(lines), tarfile.XHDTYPE) + block + header(name, 0) + bytes(1024)
    )


TB = 10 << 40
LIES = {
    "10 TB": header("0/a.JPEG", TB) + bytes(1024),
    "10 TB of something else": header("readme", TB) + bytes(1024),
    "less than nothing": header("0/a.JPEG", -512) + bytes(1024),
    "a name of 10 TB": header("0/a.JPEG", TB, tarfile.GNUTYPE_LONGNAME) + bytes(1024),
    "a header of 10 TB": header("0/a.JPEG", TB, tarfile.XHDTYPE) + bytes(1024),
    "a header of less": header("0/a.JPEG", -512, tarfile.XHDTYPE) + bytes(1024),
    "10 TB in pax": pax("0/a.JPEG", [f"size={TB}"]),
    "10 TB of holes": pax(
        "0/a.JPEG",
        ["GNU.sparse.major=0", "GNU.sparse.minor=1", f"GNU.sparse.size={TB}",
         "GNU.sparse.map=0,0"],
    ),
    "headers of headers": header("x", 0, tarfile.XHDTYPE) * 3000 + bytes(1024),
    "no tar": b"\x89PNG" * 500,
    "too short": tar_of({"0/a.JPEG": JPEG})[: 512 + 100],
    "empty": b"",
    "no file": tar_of({}),
    "a truncated gzip": gzip.compress(tar_of({"0/a.JPEG": JPEG}))[:-30],
    "a damaged gzip": gzip.compress(tar_of({"0/a.JPEG": JPEG}))[:-8] + bytes(8),
    "a damaged bzip2": bz2.compress(tar_of({"0/a.JPEG": JPEG}))[:-30],
    "a damaged xz": lzma.compress(tar_of({"0/a.JPEG": JPEG}))[:-30],
}  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("what", LIES)
def test_claims_are_not_believed(tmp_path, tars, capsys, what, inside):
    data = LIES[what].replace(b"0/a.JPEG", b"n01.JPEG") if inside else LIES[what]
    which = "train" if inside else "test"
    tar = tar_of({"n01.tar": data}) if inside else data
    (tars / f"{which}.tar").write_bytes(tar)
    assert unpack(tmp_path, tars, which) == 2
    assert f"{tars}/{which}.tar" in sentence(capsys)
    assert not written(tmp_path)


def test_little_gzip_is_not_much_data(tmp_path, tars, capsys, monkeypatch):
    monkeypatch.setattr(archives, "_SLACK", 100_000)
    files = {f"0/{k}.JPEG": bytes(50_000) for k in range(4)}
    (tars / "test.tar").write_bytes(gzip.compress(tar_of(files)))
    assert unpack(tmp_path, tars, "test") == 2
    assert "claims 50,000 bytes for '0/2.JPEG' and 150,000 in all" in sentence(capsys)
    assert not written(tmp_path)


def test_files_without_end_are_not_listed(tmp_path, tars, capsys, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 5)
    assert unpack(tmp_path, tars, "test") == 2
    assert "has more than 5 files" in sentence(capsys)
    assert not written(tmp_path)


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress]
)
def test_archives_may_be_compressed(tmp_path, tars, compress):
    (tars / "train.tar").write_bytes(compress(train_tar()))
    unpack(tmp_path, tars, "train")
    assert len(written(tmp_path)) == 12


def test_what_macos_adds_is_left_out(tmp_path, tars):
    files = {"._n01.tar": bytes(100), "__MACOSX/._n01.tar": b"x"}
    files["./ILSVRC2012_img_train/n01.tar"] = tar_of({"._a.JPEG": b"", "a.JPEG": JPEG})
    (tars / "train.tar").write_bytes(tar_of(files))
    unpack(tmp_path, tars, "train")
    assert written(tmp_path) == ["data/imagenet/train/n01/a.JPEG"]


def test_archive_of_another_kind_is_named(tmp_path, tars, capsys):
    (tars / "train.tar").write_bytes(tar_of({"train/n01/n01_1.JPEG": JPEG}))
    assert unpack(tmp_path, tars, "train") == 2
    assert sentence(capsys) == (
        f"{tars}/train.tar holds no class archives such as n01440764.tar. It has "
        "'train/n01/n01_1.JPEG'.\n"
    )


def test_pipe_is_no_archive(tmp_path, tars, capsys):
    (tars / "test.tar").unlink()
    os.mkfifo(tars / "test.tar")
    assert unpack(tmp_path, tars, "test") == 2
    assert "It is no file" in sentence(capsys)
