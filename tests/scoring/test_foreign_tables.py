"""Tables that went through a spreadsheet or an editor are read as pandas reads them."""

import csv
import io
import re
import sys

import numpy as np
import pandas as pd
import pytest

from scoring import reading
from scoring.reading.logs import read_trial

HEADER = ["accumulated_eval_time", "global_step", "score", "test/x"]
HEADER += ["validation/mean_average_precision"]
ROWS = [
    ["1.5", "1", "10.125", "0", "0.1"],
    ["2.5", "50", "20.3276751041412", "", "0.2"],
]
ROWS += [["3.5", "100", "3e1", "NA", "0.28098"]]


def text_of(delimiter=",", quoting=csv.QUOTE_MINIMAL, end="\n", rows=ROWS) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([HEADER, *rows])
    return file.getvalue()


PLAIN = text_of()
SPELLINGS = {
    "quoted": text_of(quoting=csv.QUOTE_ALL),
    "quoted, no end": text_of(quoting=csv.QUOTE_ALL).rstrip("\n"),
    "quoted names": re.sub(r"[a-z][\w/]*(?=,|\n)", r'"\g<0>"', PLAIN.partition("\n")[0])
    + "\n"
    + PLAIN.partition("\n")[2],
    "semicolons": text_of(";"),
    "decimal commas": text_of(";").replace(".", ","),
    "quoted decimal commas": text_of(";", csv.QUOTE_ALL).replace(".", ","),
    "tabs": text_of("\t"),
    "bars": text_of("|"),
    "spaces after commas": PLAIN.replace(",", ", "),
    "spaces around": PLAIN.replace(",", " , "),
    "spaces before quotes": text_of(quoting=csv.QUOTE_ALL).replace(",", ", "),
    "spaces only": "\n".join(
        "  ".join(cell or "nan" for cell in row) for row in (HEADER, *ROWS)
    ),
    "first line of Excel": "sep=;\n" + text_of(";"),
    "line feed in a cell": text_of(
        rows=[[*ROWS[0][:3], "a\nb", "0.1"], *ROWS[1:]], quoting=csv.QUOTE_ALL
    ),
    "quoted, of Windows, with a mark": "\ufeff" + text_of(",", csv.QUOTE_ALL, "\r\n"),
    "plain, of Windows, with a mark": "\ufeff" + text_of(end="\r\n"),
    "old Macintosh": text_of(end="\r"),
    "index": re.sub(r"(?m)^(?=.)", "0,", PLAIN).removeprefix("0"),
    "blank lines": "\n\n" + PLAIN.replace("\n", "\n\n"),
}  # fmt: skip


def trial_of(folder, data, **flags):
    folder = folder / "a" / "study_0" / "ogbg_jax" / "trial_1"
    folder.mkdir(parents=True)
    data = data if isinstance(data, bytes) else data.encode()
    (folder / "eval_measurements.csv").write_bytes(data)
    return read_trial(folder, "a", "study_0", **flags)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_the_same_table(tmp_path, name, published):
    trial = trial_of(tmp_path, SPELLINGS[name], published=published)
    assert not trial.unusable
    assert trial.notes == []
    frame = pd.read_csv(io.StringIO(PLAIN))
    for column in ("global_step", "score", "validation/mean_average_precision"):
        expected = frame[column].to_numpy(float)
        np.testing.assert_allclose(trial.column(column), expected, rtol=4e-16)
    assert trial.totals == {"accumulated_eval_time": 3.5}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_encodings_of_windows(tmp_path, encoding):
    trial = trial_of(tmp_path, text_of(end="\r\n").encode(encoding))
    assert trial.seconds.tolist() == [10.125, 20.3276751041412, 30.0]
    assert not trial.notes


def test_damage_in_a_foreign_table_is_noted(tmp_path):
    text = text_of(";", csv.QUOTE_ALL)
    text = text.replace('"0.2"', '"zwei"') + '"9";"9";"9";"9";"9";"9"\n'
    trial = trial_of(tmp_path, text + '"4.5";"150"\n')
    assert trial.steps.tolist() == [1, 50, 100]
    assert np.isnan(trial.column("validation/mean_average_precision")[1])
    assert [note for note in trial.notes if "Skipping line 5" in note]
    assert "line 3: validation/mean_average_precision is 'zwei', not a number" in (
        trial.notes
    )
    assert "1 evaluation(s) without time or step, left out" in trial.notes


def test_a_name_that_stands_twice_is_the_first_as_in_pandas(tmp_path):
    head, *lines = PLAIN.splitlines()
    text = "\n".join([head + ",score", *(line + ",7" for line in lines), ""])
    trial = trial_of(tmp_path, text)
    assert trial.seconds.tolist() == [10.125, 20.3276751041412, 30.0]
    assert trial.notes == ["column score stands twice; the first one counts"]


@pytest.mark.parametrize("cell", ["1_0", "\uff11\uff10", "0x10", "1,5", "ten"])
def test_what_is_no_number_for_pandas_is_none(tmp_path, cell):
    rows = [ROWS[0], [*ROWS[1][:-1], cell], ROWS[2]]
    trial = trial_of(tmp_path, text_of(rows=rows))
    assert np.isnan(trial.column("validation/mean_average_precision")[1])
    assert len(trial.notes) == 1


def test_without_pandas_a_sentence_names_it(tmp_path, monkeypatch):
    monkeypatch.delattr(reading, "foreign", raising=False)
    monkeypatch.delitem(sys.modules, "scoring.reading.foreign", raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(Exception, match="needs the package pandas"):
        trial_of(tmp_path, SPELLINGS["quoted"])
