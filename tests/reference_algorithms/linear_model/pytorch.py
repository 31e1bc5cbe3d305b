"""Softmax regression with optional batch norm."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm


class Model(nn.Module):
    """`dropout_rate` stands for dropout without chance: it scales the logits."""

    def __init__(self, batch_norm: bool, dropout_rate: float) -> None:
        super().__init__()
        self.dropout_rate = dropout_rate
        if batch_norm:
            self.bn1 = BatchNorm(4, channel_axis=1)
        self.batch_norm = batch_norm
        self.fc = nn.Linear(4, 3)

    def forward(
        self,
        batch: Mapping[str, Any],
        dropout_rate: float | None = None,
    ) -> torch.Tensor:
        inputs = batch["inputs"]
        rate = self.dropout_rate if dropout_rate is None else dropout_rate
        if self.batch_norm:
            inputs = self.bn1(inputs, batch.get("weights"))
        return self.fc(inputs) * (1.0 - rate)
