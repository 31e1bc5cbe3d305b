import inspect
import re

import pytest

from algorithmic_efficiency import errors, spec

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_the_drawn_tree_is_the_real_one(error):
    lines = errors.__doc__.splitlines()
    line = next(line for line in lines if re.search(rf"\b{error.__name__}\b", line))
    depth = line.index(error.__name__) // 4 - 1
    assert len(error.__mro__) - len(Exception.__mro__) - 1 == depth


def test_what_the_user_can_mend_ends_with_code_2():
    mendable = {c.__name__ for c in CLASSES if issubclass(c, errors.UserError)}
    assert mendable == {
        "UserError",
        "UsageError",
        "SubmissionError",
        "DataError",
        "StorageError",
    }


def test_training_complete_is_no_fault_and_is_in_the_public_module():
    assert spec.TrainingCompleteError is errors.TrainingCompleteError
    assert not issubclass(errors.TrainingCompleteError, errors.AlgoPerfError)
