"""A state's way into a file and back into a fresh start."""

import tempfile
from pathlib import Path

from algorithmic_efficiency import state as states
from algorithmic_efficiency.state import file

NUMPY = states.kinds((), ())


class Trip:
    """From a start, by some training, into a file, and into a second start.

    Args:
      kinds: of a backend.
      start: makes an optimizer state; with `params` of `start_params`.
      params: makes the parameters, which `start` is then called with.

    Attributes:
      state: what was saved; its optimizer state is `trained` too.
      problems: what could not be saved.
    """

    def __init__(self, kinds, start, params=None):
        self._kinds = kinds
        self._start = start
        self._params = params

    def _fresh(self):
        if self._params is None:
            return {"params": None, "optimizer_state": self._start()}
        params = self._params()
        return {"params": params, "optimizer_state": self._start(params)}

    def save(self, train):
        """Trains and writes; `train` changes the optimizer state."""
        self.state = self._fresh()
        origin = states.Origin(self._kinds, self.state)
        train(self.state["optimizer_state"])
        self.trained = self.state["optimizer_state"]
        content, blocks, self.problems = states.encode(self.state, origin)
        self.path = Path(tempfile.mkdtemp(prefix="state_")) / "checkpoint"
        file.write(self.path, content, blocks, keep=False)

    def load(self):
        """Returns the whole state in a second start."""
        state = self._fresh()
        origin = states.Origin(self._kinds, state)
        content, blocks = file.read(self.path)
        return states.decode(content, blocks, state, origin)

    def run(self, train):
        """Returns the optimizer state after both."""
        self.save(train)
        assert self.problems == []
        return self.load()["optimizer_state"]
