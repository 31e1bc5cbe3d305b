"""The tensor functions of losses in PyTorch."""

import torch
from torch.nn import functional as F


class TorchOps:
    """The tensor functions of `losses.Ops`."""

    def exp(self, x: torch.Tensor) -> torch.Tensor:
        """Returns e ** x."""
        return torch.exp(x)

    def log_softmax(self, x: torch.Tensor) -> torch.Tensor:
        """Returns log(softmax(x)) over the last axis."""
        return F.log_softmax(x, -1)

    def log_sigmoid(self, x: torch.Tensor) -> torch.Tensor:
        """Returns log(1 / (1 + exp(-x)))."""
        return F.logsigmoid(x)

    def pick(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Returns x[..., index]."""
        return x.gather(-1, index.long().unsqueeze(-1)).squeeze(-1)

    def float_like(self, x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Returns x in the dtype of `like`."""
        return x.to(like.dtype)

    def select(self, mask: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Returns x where mask is not 0, and 0 elsewhere."""
        return torch.where(mask != 0, x, 0)

    def ones_like(self, x: torch.Tensor) -> torch.Tensor:
        """Returns ones in the shape and dtype of x."""
        return torch.ones_like(x)

    def wide(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x in float32, or in its own dtype where that is wider."""
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def argmax(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the place of the largest entry along the last axis."""
        return x.argmax(-1)

    def ctc(
        self,
        logits: torch.Tensor,
        paddings: torch.Tensor,
        labels: torch.Tensor,
        label_paddings: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the CTC loss of each example, [B]."""
        return F.ctc_loss(
            F.log_softmax(logits, -1).transpose(0, 1),
            labels.long(),
            (paddings == 0).sum(-1),
            (label_paddings == 0).sum(-1),
            reduction="none",
        )
