"""Parameters of PyTorch models, and their gradients, are plain contiguous tensors."""

import dataclasses
from typing import Any

import pytest
import torch
from parity import pairs

from algorithmic_efficiency import registry
from algorithmic_efficiency.workload import Workload

WIDE = {"channels": 256, "features": 16, "heads": 2}  # a convolution of its own


def module_and_loss(name: str, **changes: Any) -> tuple[torch.nn.Module, torch.Tensor]:
    definition = registry.get(name)
    row = dataclasses.replace(definition, model={**definition.model, **changes})
    backend = pairs.backend("pytorch")
    made = Workload(row, backend, pairs.NO_DATA)
    module, state = made.init_model_fn(backend.make_rng((1, 2)))
    batch = made.place(pairs.random_batch(made, size=4, padded=1))
    outputs, _ = made.model_fn(module, batch, state, pairs.TRAIN, None, True)
    loss = made.loss_fn(batch["targets"], outputs, batch["weights"])["summed"]
    return module, loss


def check(name: str, **changes: Any) -> None:
    module, loss = module_and_loss(name, **changes)
    parameters = list(module.parameters())
    asked = torch.autograd.grad(loss, parameters, retain_graph=True)
    loss.backward()
    for parameter, gradient in zip(parameters, asked, strict=True):
        for tensor in (parameter, parameter.grad, gradient, parameter.data):
            assert tensor.is_contiguous()
            # As optimizers do that see a layer as a matrix or as a vector.
            assert tensor.view(-1).data_ptr() == tensor.data_ptr()
            assert tensor.view(tensor.shape[0], -1).shape[0] == tensor.shape[0]
        assert torch.equal(parameter.grad, gradient)


def test_parameters_and_gradients_are_contiguous(mini_name: str) -> None:
    check(mini_name)


def test_so_they_are_where_the_convolution_is_wide() -> None:
    check("librispeech_conformer_mini", **WIDE)


@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
def test_images_of_either_format_give_the_same(format_: Any) -> None:
    module, _ = module_and_loss("imagenet_resnet_mini")
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = module.eval()({"inputs": images.contiguous(memory_format=format_)})
        expected = module({"inputs": images})
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
