"""The model argument `norm` of every workload with batch norm."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from algorithmic_efficiency import params as parameters
from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm

WORKLOADS = (
    "imagenet_resnet",
    "cifar",
    "librispeech_conformer",
    "librispeech_deepspeech",
)
WORDS = {
    "ghost:2": "GhostBatchNorm",
    "ema:warmup=5": "EmaBatchNorm",
    "accumulated": "AccumulateBatchNorm",
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_takes_every_word(name):
    definition = registry.get(f"{name}_mini")
    for word, kind in WORDS.items():
        own = dataclasses.replace(definition, model={**definition.model, "norm": word})
        backend = base.make("pytorch")
        with torch.device("meta"):
            module = backend.build(own)(**own.model)
        layers = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
        assert layers
        assert {type(layer).__name__ for layer in layers} == {kind}
        backend = base.make("jax")
        params, state = backend.init(backend.build(own), own, (0, 0))
        kept = parameters.statistics_from_jax(jax.device_get(state["batch_stats"]))
        theirs = {key: tuple(b.shape) for key, b in module.state_dict().items()}
        for key, value in kept.items():
            assert theirs[key] == value.shape
            if key.endswith("_var"):
                assert np.all(value == 1)
        assert kept.keys() >= theirs.keys() - dict(module.named_parameters()).keys()
