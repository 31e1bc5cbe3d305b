"""The dropout rates that init_model_fn is given, by the runner from hyperparameters."""

import dataclasses
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity import pairs

from algorithmic_efficiency import adapters, rates, registry
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.runner.trainer import Trainer
from algorithmic_efficiency.runner.tuning import namedtuple
from algorithmic_efficiency.workload import Workload

SPEECH = ("librispeech_conformer_mini", "librispeech_deepspeech_mini")
TINY = {"features": 16, "channels": 4, "time_masks": 0, "frequency_masks": 0}


def tiny(name: str, framework: str) -> Workload:
    """Returns a workload without SpecAugment: dropout is all that is left to chance."""
    definition = registry.get(name)
    if name in SPEECH:
        definition = dataclasses.replace(definition, model={**definition.model, **TINY})
    return Workload(definition, pairs.backend(framework), pairs.NO_DATA)


def is_random(made: Workload, framework: str, init: Any, **call: Any) -> bool:
    """Says whether two passes with other draws differ."""
    backend = pairs.backend(framework)
    params, state = made.init_model_fn(backend.make_rng((1, 2)), **init)
    sound = {"inputs": (np.ones((2, 3_000), np.float32), np.zeros((2, 3_000), "f4"))}
    batch, outputs = made.place(sound), []
    for seed in (1, 2):
        backend.seed_globals((seed, seed))
        rng = backend.make_rng((seed, seed))
        result, _ = made.model_fn(params, batch, state, pairs.TRAIN, rng, False, **call)
        outputs.append(result[0].tolist())
    return outputs[0] != outputs[1]


@pytest.mark.parametrize("framework", pairs.FRAMEWORKS)
@pytest.mark.parametrize("name", SPEECH)
def test_both_rates_have_effect_and_the_call_wins(name: str, framework: str) -> None:
    made = tiny(name, framework)
    none = {"dropout_rate": 0.0, "aux_dropout_rate": 0.0}
    assert not is_random(made, framework, none)
    assert is_random(made, framework, {**none, "dropout_rate": 0.9})
    assert is_random(made, framework, {**none, "aux_dropout_rate": 0.9})
    # One alone leaves the other as the workload has it, and so do later calls.
    assert is_random(made, framework, {"dropout_rate": 0.0})
    assert is_random(made, framework, {})
    high = {"dropout_rate": 0.9, "aux_dropout_rate": 0.9}
    assert not is_random(made, framework, high, dropout_rate=0.0)
    assert is_random(made, framework, none, dropout_rate=0.9)


@pytest.mark.parametrize("own_aux", [None, 0.3])
def test_rates_of_a_definition(own_aux: float | None) -> None:
    row = registry.get("librispeech_deepspeech_mini")
    row = dataclasses.replace(row, model={**row.model, "aux_dropout_rate": own_aux})

    def found(*given: Any) -> tuple[Any, Any]:
        model = rates.with_rates(row.model, *given)
        return rates.of_pass(None, model["dropout_rate"], model["aux_dropout_rate"])

    own = 0.1 if own_aux is None else own_aux
    assert found(None, None) == (0.1, own)
    assert found(0.0, None) == (0.0, own)
    assert found(None, 0.0) == (0.1, 0.0)
    assert found(np.float32(0.5), torch.tensor(0.25)) == (0.5, 0.25)
    assert found(1, jnp.float32(0.5)) == (1.0, 0.5)
    assert rates.of_pass(0.7, 0.0, 0.2) == (0.7, 0.7)
    resnet = registry.get("imagenet_resnet_mini")
    assert rates.with_rates(resnet.model, 0.5, 0.5) == resnet.model


def trained(framework: str, name: str, point: Any) -> Any:
    """Returns the trainer of a submission that does nothing, and its parameters."""
    submission = types.SimpleNamespace(
        batch_size=lambda *_: 2,
        eval_batch_size=lambda *_: 2,
        init_optimizer_state=lambda workload, params, *_: params,
    )
    made, backend = tiny(name, framework), pairs.backend(framework)
    hyperparameters = None if point is None else namedtuple(point)
    return Trainer(made, submission, backend, hyperparameters, seed=0)


@pytest.mark.parametrize("name", [*SPEECH, "imagenet_resnet_mini"])
@pytest.mark.parametrize("framework", pairs.FRAMEWORKS)
def test_hyperparameters_set_the_rates(framework: str, name: str) -> None:
    for point, expected in (
        (None, (0.1, None)),
        ({"learning_rate": 0.1}, (0.1, None)),
        ({"dropout_rate": 0.0}, (0.0, 0.1)),
        ({"dropout_rate": 0.2, "aux_dropout_rate": 0.3}, (0.2, 0.3)),
        ({"aux_dropout_rate": 0.3}, (0.1, 0.3)),
    ):
        trainer = trained(framework, name, point)
        if name in SPEECH:
            model = trainer.workload._model
            if framework == "pytorch":
                model = trainer.state["optimizer_state"]
            assert (model.dropout_rate, model.aux_dropout_rate) == expected


def test_a_rate_that_is_none_is_a_mistake_of_the_user() -> None:
    with pytest.raises(SubmissionError, match=r"aux_dropout_rate=1\.5; expected"):
        trained("pytorch", SPEECH[0], {"aux_dropout_rate": 1.5})


def test_adapters_leave_two_rates_to_the_model() -> None:
    def passed(**point: float) -> dict[str, float]:
        return adapters.Settings.of(namedtuple(point)).dropout

    assert passed(dropout_rate=0.2) == {"dropout_rate": 0.2}
    assert passed(dropout_rate=0.2, aux_dropout_rate=0.0) == {}
    assert passed(aux_dropout_rate=0.0) == {} == passed(learning_rate=0.1)
