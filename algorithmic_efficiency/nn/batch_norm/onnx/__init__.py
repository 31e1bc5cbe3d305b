"""What both frameworks' ONNX operators refuse, with the same words."""

SAVED = ("inv_std", "variance")


def check_saved(saved: str) -> None:
    """Raises ValueError unless `saved` names a meaning of the last saved output."""
    if saved not in SAVED:
        raise ValueError(f"Found saved={saved!r}; expected one of {SAVED}.")


def check_training_input(shape: tuple[int, ...], **per_channel: object) -> None:
    """Raises ValueError unless x has values and all else is one value per channel.

    Args:
      shape: of x.
      per_channel: name -> an array that must be [C].
    """
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"Found an input of shape {tuple(shape)}; expected [N, C, ...] with at "
            "least one value per channel."
        )
    for name, value in per_channel.items():
        found = tuple(getattr(value, "shape", ()))
        if found != (shape[1],):
            raise ValueError(
                f"Found {name} of shape {found}; expected {(shape[1],)}, one value per "
                f"channel of an input of shape {tuple(shape)} (channels on axis 1)."
            )
