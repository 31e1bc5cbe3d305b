"""Softmax regression with optional batch norm."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn

from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm


class Model(nn.Module):
    """`dropout_rate` stands for dropout without chance: it scales the logits."""

    batch_norm: bool
    dropout_rate: float

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, Any],
        *,
        train: bool,
        use_running_average: bool,
        dropout_rate: float | None = None,
    ) -> Any:
        inputs = batch["inputs"]
        rate = self.dropout_rate if dropout_rate is None else dropout_rate
        if self.batch_norm:
            inputs = BatchNorm(name="bn1")(
                inputs, batch.get("weights"), use_running_average=use_running_average
            )
        return nn.Dense(3, name="fc")(inputs) * (1.0 - rate)
