"""What submissions import from `pytorch_utils`."""

import torch
from torch import nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode
from algorithmic_efficiency.pytorch_utils import pytorch_setup, update_batch_norm_fn


def test_setup_without_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    use_ddp, rank, device, n_gpus = pytorch_setup()
    assert (use_ddp, rank) == (False, 0)
    assert device.type == ("cuda" if n_gpus else "cpu")


def test_setup_under_torchrun(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pytorch_setup()[:2] == (True, 3)


def test_the_flag_lasts_until_the_next_call_and_a_block_may_overrule_it():
    model = nn.Sequential(BatchNorm(3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    x = torch.randn(4, 3)
    model.apply(lambda module: update_batch_norm_fn(module, False))
    model(x)
    model(x)
    assert model[0].num_batches_tracked == model[1].num_batches_tracked == 0
    with batch_norm_mode(model, update=True):
        model(x)
    model(x)
    assert model[0].num_batches_tracked == model[1].num_batches_tracked == 1
    model.apply(lambda module: update_batch_norm_fn(module, True))
    model(x)
    assert model[0].num_batches_tracked == model[1].num_batches_tracked == 2
