"""Files with the classes of the validation images: a wrong line ends the command."""

import pytest
from image_trees import JPEG
from tar_files import BASE, TRUTH, VAL, WNIDS, run, tar_of, write_tars, written

from algorithmic_efficiency.errors import DataError
from dataset_setup import check
from dataset_setup.labels import Labels

DEVKIT = [str(1 + WNIDS.index(wnid)) for wnid in TRUTH]
PAIRS = [f"{name}.JPEG {wnid}" for name, wnid in zip(VAL, TRUTH, strict=True)]
NUMBERED = [
    f"{v}.JPEG,{sorted(WNIDS).index(w)}" for v, w in zip(VAL, TRUTH, strict=True)
]
KAGGLE = ["ImageId,PredictionString", *(f"{p} 1 2 3 4" for p in PAIRS)]


def changed(lines, number, line):
    return [*lines[: number - 1], line, *lines[number:]]


# What -> (lines, part of the sentence).
WRONG = {
    "nothing": ([], "labels.txt is empty"),
    "header alone": (KAGGLE[:1], "labels.txt has no labels"),
    "0 of the devkit": (
        changed(DEVKIT, 3, "0"),
        "Line 3 of .*'0', expected a number from 1 to 3",
    ),
    "beyond": (
        changed(DEVKIT, 2, "4"),
        "Line 2 of .*'4', expected a number from 1 to 3",
    ),
    "negative": (
        changed(DEVKIT, 4, "-1"),
        "Line 4 of .*'-1', expected a number from 1",
    ),
    "huge": (changed(DEVKIT, 4, "1" * 5000), "Line 4 of .*'1{40}', expected a number"),
    "a fraction": (
        changed(DEVKIT, 1, "1.0"),
        "Line 1 of .*'1.0', expected one of the 3",
    ),
    "other digits": (
        changed(DEVKIT, 2, "\u0662"),
        "Line 2 of .*'.u0662', expected a num",
    ),
    "sorted, beyond": (changed(NUMBERED, 2, f"{VAL[1]} 3"), "Line 2 .* from 0 to 2"),
    "sorted, negative": (changed(NUMBERED, 1, f"{VAL[0]} -1"), "Line 1 .* from 0 to 2"),
    "header": (
        ["label", *DEVKIT],
        "Line 1 of .*'label'.* Remove it where it is a head",
    ),
    "header of pairs": (["filename,label", *NUMBERED], "Line 1 of .*'label', expected"),
    "header again": ([*KAGGLE, KAGGLE[0]], "Line 6 of .*'PredictionString', expected"),
    "unknown wnid": (
        changed(PAIRS, 3, f"{VAL[2]} n09"),
        "Line 3 .*'n09', expected one",
    ),
    "wnid in capitals": (
        changed(TRUTH, 1, "N02"),
        "Line 1 of .*'N02', expected one of",
    ),
    "leads out": (
        changed(PAIRS, 1, f"{VAL[0]} ../../n01"),
        "Line 1 .*'../../n01', exp",
    ),
    "absolute": (changed(PAIRS, 1, f"{VAL[0]} /etc"), "Line 1 of .*'/etc', expected"),
    "mixed": (
        changed(PAIRS, 4, f"{VAL[3]} 1"),
        "Line 4 of .*'1', expected one of the 3",
    ),
    "twice": (
        [*PAIRS[:2], "", f"val/{VAL[1]}.jpeg n01", *PAIRS[2:]],
        f"Line 4 of .* gives {VAL[1]} a class, as line 2 does",
    ),
    "no class": (
        changed(PAIRS, 2, VAL[1]),
        f"Line 2 of .* is '{VAL[1]}', expected the",
    ),
    "two words": (
        changed(DEVKIT, 2, "1 2"),
        "Line 2 of .* has 2 words, expected a cla",
    ),
    "too few": (DEVKIT[:3], f"has 3 classes for 4 images .*: no class for {VAL[3]}"),
    "too many": ([*DEVKIT, "1"], "has 5 classes for 4 images .*: line 5 is for ILSVRC"),
    "other images": (
        changed(PAIRS, 2, "other.JPEG n01"),
        f"no class for {VAL[1]}.JPEG, and line 2 is for other, which is not in it",
    ),
}


@pytest.fixture
def tars(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "BASE", BASE)
    tars = write_tars(tmp_path / "tars")
    (tars / "synsets.txt").write_text("\n".join(WNIDS))
    return tars


def unpack(tmp_path, tars, *more):
    return run(
        tmp_path,
        f"--train_tar={tars}/train.tar",
        f"--val_tar={tars}/val.tar",
        f"--val_labels={tars}/labels.txt",
        f"--synsets={tars}/synsets.txt",
        *more,
    )


def one_sentence(tmp_path, capsys, words):
    """Asserts that a sentence was said and nothing written."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(error)
    assert not written(tmp_path)


@pytest.mark.parametrize("what", WRONG)
def test_wrong_line_is_one_sentence_and_nothing_written(tmp_path, tars, capsys, what):
    lines, words = WRONG[what]
    (tars / "labels.txt").write_text("".join(f"{line}\n" for line in lines))
    assert unpack(tmp_path, tars) == 2
    one_sentence(tmp_path, capsys, words)


def test_labels_need_their_companions(tmp_path, tars, capsys):
    val = f"--val_tar={tars}/val.tar"
    assert run(tmp_path, val) == 2
    one_sentence(tmp_path, capsys, "--val_tar needs --val_labels")
    for lines, words in (
        (DEVKIT, "they need --synsets"),
        (NUMBERED, "which nothing te"),
    ):
        (tars / "labels.txt").write_text("\n".join(lines))
        assert run(tmp_path, val, f"--val_labels={tars}/labels.txt") == 2
        one_sentence(tmp_path, capsys, words)


@pytest.mark.parametrize(
    ("encode", "lines"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), DEVKIT),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), KAGGLE),
        (lambda text: text.replace("\n", "\r\n").encode() + b"\r\n\r\n", DEVKIT),
        (lambda text: text.replace("\n", "\r\n").encode(), KAGGLE),
        (lambda text: text.replace("\n", "\n\n").encode(), TRUTH),
        (lambda text: text.replace(",", ";").encode(), NUMBERED),
        (lambda text: text.replace(",", '","').encode(), NUMBERED),
        (lambda text: text.replace(".JPEG", "").encode(), NUMBERED),
        (lambda text: text.replace("ILSVRC", "C:\\val\\ILSVRC").encode(), PAIRS),
    ],
)
def test_spellings_of_the_same_labels(tmp_path, tars, encode, lines):
    (tars / "labels.txt").write_bytes(encode("\n".join(lines)))
    assert unpack(tmp_path, tars, f"--test_tar={tars}/test.tar") == 0
    found = {p.stem: p.parent.name for p in tmp_path.glob("data/imagenet/val/*/*")}
    assert found == dict(zip(VAL, TRUTH, strict=True))


def test_only_a_line_feed_ends_a_line(tmp_path):
    (tmp_path / "labels.txt").write_text(
        "a.JPEG n01\u2028b.JPEG n02\nc.JPEG n01\x0bd n2\n"
    )
    with pytest.raises(DataError, match=r"Line 1 of .*'n01\\u2028b.JPEG', expected"):
        Labels(tmp_path / "labels.txt", None, ["n01", "n02"]).read()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("1\n2\n".encode("utf-16"), "byte 0 is not UTF-8"),
        (b"n01\nn\xff\n", "byte 5 is not UTF-8"),
        (None, "cannot be read: It is no file"),
    ],
)
def test_unreadable_labels_are_one_sentence(tmp_path, tars, capsys, data, words):
    if data is None:
        (tars / "labels.txt").mkdir()
    else:
        (tars / "labels.txt").write_bytes(data)
    assert unpack(tmp_path, tars) == 2
    one_sentence(tmp_path, capsys, words)


def test_labels_without_end_are_not_read(tmp_path, tars, capsys):
    with (tars / "labels.txt").open("wb") as file:
        file.truncate(1 << 40)
    assert unpack(tmp_path, tars) == 2
    one_sentence(tmp_path, capsys, "It has 1,099,511,627,776 bytes, at most")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["n03", "n01", "n01"], "Line 3 of .* has n01 again, after line 2"),
        (["n03", "n01"], "has 2 wnids, expected 3"),
        (["n03", "n01", "n04"], "Line 3 of .* 'n04', expected the wnid of a class"),
        (["wnid", *WNIDS], "Line 1 of .* begins with 'wnid', expected the wnid"),
        (["../n03", "n01", "n02"], "Line 1 of .* begins with '../n03', expected"),
    ],
)
def test_wrong_synsets_are_one_sentence(tmp_path, tars, capsys, lines, words):
    (tars / "labels.txt").write_text("\n".join(DEVKIT))
    (tars / "synsets.txt").write_text("\n".join(lines))
    assert unpack(tmp_path, tars) == 2
    one_sentence(tmp_path, capsys, words)


def test_other_labels_of_an_earlier_attempt_leave_nothing(tmp_path, tars):
    partial = tmp_path / "data" / "imagenet" / ".val.partial"
    for wnid, name in (("n03", VAL[0]), ("n03", VAL[1]), ("n01", VAL[3])):
        (partial / wnid).mkdir(parents=True, exist_ok=True)
        (partial / wnid / f"{name}.JPEG").write_bytes(JPEG)
    (tars / "labels.txt").write_text("\n".join(DEVKIT))
    assert unpack(tmp_path, tars, f"--test_tar={tars}/test.tar") == 0
    found = [(p.stem, p.parent.name) for p in tmp_path.glob("data/imagenet/val/*/*")]
    assert sorted(found) == list(zip(VAL, TRUTH, strict=True))


def test_sorted_synsets_are_not_the_devkits(tmp_path):
    wnids = [f"n{k:08d}" for k in range(1_000)]
    (tmp_path / "labels.txt").write_text("1\n2\n")
    for order, fails in ((wnids, True), (wnids[::-1], False)):
        (tmp_path / "synsets.txt").write_text("\n".join(order))
        labels = Labels(tmp_path / "labels.txt", tmp_path / "synsets.txt", wnids)
        if fails:
            with pytest.raises(
                DataError, match="sorted order, expected that of the dev"
            ):
                labels.read()
        else:
            assert labels.read()[VAL[1]].wnid == wnids[-2]


def test_one_name_in_two_folders_is_one_sentence(tmp_path, tars, capsys):
    names = [f"{VAL[0]}.JPEG", f"a/{VAL[0]}.JPEG", *(f"{v}.JPEG" for v in VAL[1:3])]
    (tars / "val.tar").write_bytes(tar_of(dict.fromkeys(names, JPEG)))
    (tars / "labels.txt").write_text("\n".join(DEVKIT))
    assert unpack(tmp_path, tars) == 2
    one_sentence(tmp_path, capsys, f"has 'a/{VAL[0]}.JPEG' twice")
