"""Batch norm: one convention and one policy, for PyTorch and for JAX.

Normalise, per channel, over the n valid positions of a batch (all of them when there
is no mask):

    mean  = sum(x) / n
    v     = sum((x - mean)^2) / n                     the population variance
    y     = (x - M) / sqrt(V + epsilon) * scale + bias

with (M, V) = (mean, v), the batch normaliser, or (running_mean, running_var), the
running normaliser. Update the running statistics R, for R = mean and R = var:

    new = (1 - momentum) * old + momentum * batch

`momentum` is the weight of the new batch in every layer of this project: 0 is frozen,
1 keeps the last batch only, None is cumulative (momentum = 1 / number of updates, so
R is the plain mean of all batches). The batch variance that enters R is
`variance='unbiased'`, v * n / (n - 1), PyTorch's choice, or 'population', v itself.
"""

from typing import Any

from algorithmic_efficiency.spec import ForwardPassMode

VARIANCES = ("unbiased", "population")

# What each project calls momentum: the weight of the new batch or of the old value.
_WEIGHT_OF_NEW = ("pytorch", "composer")
_WEIGHT_OF_OLD = ("flax", "equinox", "onnx")


def resolve(
    mode: ForwardPassMode,
    update_batch_norm: bool,
    use_running_average_bn: bool | None = None,
) -> tuple[bool, bool]:
    """Returns (use_running_average, update): what a forward pass may read and write.

    The two answers are independent but for one rule: the running normaliser never
    updates, since it computes no batch statistics (as in Flax).

    Args:
      mode: TRAIN normalises with the batch, EVAL with the running statistics.
      update_batch_norm: whether the running statistics may move.
      use_running_average_bn: overrides the normaliser of `mode` unless None.

    Raises:
      ValueError: for EVAL with `update_batch_norm`, or if a switch has no truth value
        yet because it is traced; before anything is touched.
    """
    update_batch_norm = _switch("update_batch_norm", update_batch_norm)
    if mode == ForwardPassMode.EVAL and update_batch_norm:
        raise ValueError(
            "Found mode EVAL with update_batch_norm=True; an evaluation never moves "
            "the running statistics. Pass update_batch_norm=False."
        )
    if use_running_average_bn is None:
        use_running_average = mode == ForwardPassMode.EVAL
    else:
        use_running_average = _switch("use_running_average_bn", use_running_average_bn)
    return use_running_average, update_batch_norm and not use_running_average


def _switch(name: str, value: Any) -> bool:
    """Returns the truth value of an argument that chooses what is computed."""
    try:
        return bool(value)
    except TypeError as error:  # that of a traced value
        raise ValueError(
            f"Found {name} as a traced value; it chooses which operations a pass "
            "consists of, so it must be True or False when the step is compiled. Name "
            "it in the static_argnames of jax.jit, or write it out."
        ) from error


def momentum_from(project: str, momentum: float | None) -> float | None:
    """Returns our momentum for a setting of another project's batch norm layer.

    Args:
      project: 'pytorch' or 'composer' (weight of the new batch, as here), or 'flax',
        'equinox' or 'onnx' (weight of the old value).
      momentum: that project's setting; None is cumulative.
    """
    if project not in _WEIGHT_OF_NEW + _WEIGHT_OF_OLD:
        raise ValueError(
            f"Found project {project!r}; known are "
            f"{', '.join(_WEIGHT_OF_NEW + _WEIGHT_OF_OLD)}."
        )
    if momentum is None or project in _WEIGHT_OF_NEW:
        return momentum
    return 1.0 - momentum


def check_variance(variance: str) -> None:
    """Raises ValueError unless `variance` names an estimator that we know."""
    if variance not in VARIANCES:
        raise ValueError(f"Found variance={variance!r}; expected one of {VARIANCES}.")


def check_mask(mask: tuple[int, ...], positions: tuple[int, ...]) -> None:
    """Raises ValueError unless a mask of this shape fits an input.

    Args:
      mask: the shape of the mask.
      positions: the shape of the input without its channel axis.
    """
    if mask != positions[: len(mask)]:
        raise ValueError(
            f"Found a mask of shape {mask}; expected the first axes of {positions}, "
            "the shape of the input without channels."
        )
