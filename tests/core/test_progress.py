"""What a person reads after an evaluation."""

import io

import pytest
from core_fakes import Time, definition

from algorithmic_efficiency.runner.clock import Clock
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.trial import Progress, Rules


@pytest.mark.parametrize(("misfits", "shown"), [(0.0, ""), (3.0, "  test/misfits 3")])
def test_misfits_are_shown_where_there_are_some(misfits, shown):
    stream = io.StringIO()
    line = ProgressLine(Rules(10.0, 3.0), definition(), stream)
    result = {"test/num_examples": 11, "test/loss": 2.5, "test/misfits": misfits}
    line.evaluated(Progress(step=7, evals=[(7, result)]), Clock(Time()))
    assert stream.getvalue() == f"step 7  0.0 s  test/loss 2.5000{shown}\n"
