"""The exceptions of this project.

    AlgoPerfError            every error that we raise on purpose
    ├── UserError            the user asked for something impossible: exit code 2
    │   ├── UsageError       a flag, a name or a folder
    │   ├── SubmissionError  the submission breaks its contract
    │   ├── DataError        the data set is missing or damaged
    │   └── StorageError     a record or checkpoint could not be written or read
    └── EvaluationError      an evaluation went wrong: recorded, exit code 1

    TrainingCompleteError    not a fault: a submission says that it is done

A message is a sentence: what was found, what was expected, what to do.
"""


class AlgoPerfError(Exception):
    """An error with a message for people; the root of the tree."""


class UserError(AlgoPerfError):
    """The user asked for something impossible; the command ends with exit code 2."""


class UsageError(UserError):
    """A flag, a name or a folder does not fit."""


class SubmissionError(UserError):
    """A submission breaks the submission API."""


class DataError(UserError):
    """A data set is missing, incomplete or damaged."""


class StorageError(UserError):
    """A record or a checkpoint could not be written or read."""


class EvaluationError(AlgoPerfError):
    """An evaluation did not count every example exactly once, or failed."""


class TrainingCompleteError(Exception):  # noqa: N818 - the public API's name
    """Raised by a submission's `update_params` to end its training."""
