"""How a trial ended, as its process tells the one that started it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
      kind: 'ended' by its rules; 'failed', recorded so; 'refused', a user's mistake
        that all trials share, so that the study ends; 'interrupted' by a signal.
      message: a sentence for people, '' where it has been shown already.
      mistake: of the user, where the trial failed.
    """

    kind: str
    message: str = ""
    mistake: bool = False
