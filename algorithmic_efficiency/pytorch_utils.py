"""The PyTorch helpers that submissions for the public AlgoPerf API import."""

import os

import torch
from torch import nn

from algorithmic_efficiency.nn.batch_norm.switch import freeze, has_statistics, thaw


def pytorch_setup() -> tuple[bool, int, torch.device, int]:
    """Returns (use_ddp, rank, device, n_gpus) of this process.

    Processes are started by torchrun if and only if LOCAL_RANK is set; the device is
    the CPU where there is no GPU, and n_gpus is then 0.
    """
    use_ddp = "LOCAL_RANK" in os.environ
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    return use_ddp, rank, device, torch.cuda.device_count()


def update_batch_norm_fn(module: nn.Module, update_batch_norm: bool) -> None:
    """Freezes or thaws the running statistics of one layer until the next call.

    For `model.apply(functools.partial(update_batch_norm_fn, update_batch_norm=...))`;
    modules without running statistics are left alone. It may be called any number of
    times. The layer keeps its momentum, whatever kind of object that is, since freezing
    takes the buffers away from the kernel and leaves the momentum alone.
    """
    if has_statistics(module):
        (thaw if update_batch_norm else freeze)(module)
