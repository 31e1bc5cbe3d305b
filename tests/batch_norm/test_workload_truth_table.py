"""The truth table through `workload.model_fn`, for every workload and framework."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from parity.pairs import without_chance

from algorithmic_efficiency import params, registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Field
from algorithmic_efficiency.nn.batch_norm import resolve
from algorithmic_efficiency.spec import ForwardPassMode
from algorithmic_efficiency.workload import Workload

TRAIN, EVAL = ForwardPassMode.TRAIN, ForwardPassMode.EVAL
ALL = list(itertools.product((TRAIN, EVAL), (True, False), (None, False, True)))


def has_batch_norm(definition):
    backend = importlib.import_module("algorithmic_efficiency.backends.pytorch").make()
    names = backend.shapes(backend.build(definition), definition)
    types = {params.parameter_type(name, definition.all_rules).name for name in names}
    return "BATCH_NORM_SCALE" in types


BASES = {  # one per package; variants share its code
    definition.package: definition
    for definition in reversed(registry.definitions().values())
    if definition.scale == "mini"
}
MINIS = [row.name for row in BASES.values() if has_batch_norm(row)]


def random_inputs(field, rng):
    """Returns four examples; of a pair of fields, the second is padding."""
    if isinstance(field, Field):
        return np.float32(rng.normal(0.5, 1.0, (4, *field.shape)))
    inputs, paddings = (np.zeros((4, *each.shape), np.float32) for each in field)
    inputs += np.float32(1000 * rng.normal(size=inputs.shape))  # audible
    paddings[:, paddings.shape[1] // 2 :] = 1
    return inputs, paddings


BOTH = ("pytorch", "jax")


class Session:
    """A workload after two training steps, and one batch with a padded row."""

    def __init__(self, name, framework):
        backend = importlib.import_module(
            f"algorithmic_efficiency.backends.{framework}"
        )
        options = {"compile_models": False} if framework == "pytorch" else {}
        self.backend = backend.make(**options)
        definition = without_chance(registry.get(name))
        folders = Folders(Path("absent"))
        self.workload = Workload(definition, self.backend, folders)
        self.rng = self.backend.make_rng((1, 2))
        self.params, self.state = self.workload.init_model_fn(self.rng)
        rng = np.random.default_rng(0)
        inputs = random_inputs(definition.fields["inputs"], rng)
        weights = np.float32([1, 1, 0, 1])
        self.batch = self.workload.place({"inputs": inputs, "weights": weights})
        for _ in range(2):
            _, self.state = self.forward(TRAIN, True, None)

    def forward(self, mode, update, running):
        """Returns the outputs as NumPy and the new state; nothing is left to chance."""
        outputs, state = self.workload.model_fn(
            self.params,
            self.batch,
            self.state,
            mode,
            self.rng,
            update_batch_norm=update,
            use_running_average_bn=running,
        )
        if isinstance(outputs, tuple):
            outputs, _ = outputs
        if hasattr(outputs, "detach"):
            outputs = outputs.detach()
        return np.asarray(outputs), state

    def statistics(self, state):
        """Returns a copy of the running statistics and their counters."""
        values = self.backend.canonical(self.params, state)
        kinds = ("running_mean", "running_var", "num_batches_tracked")
        return {k: v.copy() for k, v in values.items() if k.endswith(kinds)}

    def restore(self, statistics):
        """Puts back what PyTorch moved in place; JAX still has its old state."""
        if self.backend.name == "pytorch":
            for key, value in statistics.items():
                self.params.get_buffer(key).copy_(torch.tensor(value))


@pytest.fixture(scope="module", params=itertools.product(MINIS, BOTH))
def session(request):
    return Session(*request.param)


def test_every_cell_of_the_truth_table(session):
    outputs = {True: [], False: []}
    for mode, update, running in ALL:
        before = session.statistics(session.state)
        assert before
        if (mode, update) == (EVAL, True):
            with pytest.raises(ValueError, match="EVAL with update_batch_norm=True"):
                session.forward(mode, update, running)
            state = session.state
            moves = False
        else:
            normaliser, moves = resolve(mode, update, running)
            y, state = session.forward(mode, update, running)
            outputs[normaliser].append(y)
        after = session.statistics(state)
        for key, value in before.items():
            assert np.array_equal(value, after[key]) is not moves, (mode, update, key)
            assert value.dtype == after[key].dtype
        if not moves:
            assert state is session.state
        session.restore(before)
    for ys in outputs.values():
        for y in ys[1:]:
            np.testing.assert_array_equal(y[[0, 1, 3]], ys[0][[0, 1, 3]])
    assert not np.allclose(outputs[True][0][0], outputs[False][0][0], rtol=1e-3)
