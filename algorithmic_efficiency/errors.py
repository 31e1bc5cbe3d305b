"""The exceptions of this project.

    AlgoPerfError            every error that we raise on purpose
    ├── UserError            the user asked for something impossible: exit code 2
    │   ├── UsageError       a flag, a name or a folder
    │   ├── SubmissionError  the submission breaks its contract
    │   ├── DataError        the data set is missing or damaged
    │   └── StorageError     a record or checkpoint could not be written or read
    ├── EvaluationError      an evaluation went wrong: recorded, exit code 1
    └── RunInterrupted       a signal ended the run: exit code 128 + its number

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


class RunInterrupted(AlgoPerfError):  # noqa: N818 - not an error of anybody
    """A signal has ended the run; its records say so.

    Attributes:
      number: of the signal.
      begun: a trial has been begun, so that the run can be resumed.
    """

    def __init__(self, number: int, *, begun: bool) -> None:
        super().__init__(number)
        self.number = number
        self.begun = begun


class TrainingCompleteError(Exception):  # noqa: N818 - the public API's name
    """Raised by a submission's `update_params` to end its training."""
