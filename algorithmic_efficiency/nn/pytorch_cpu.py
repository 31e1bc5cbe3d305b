"""Dense layers on the CPU by oneDNN, where MKL does not use what the CPU can do.

MKL gives CPUs of other makers than Intel its AVX2 kernels. PyTorch's own operation for
compiled models multiplies by oneDNN, which uses AVX-512 on all. Which products take it
is a function of the processor and of the shapes alone, never of a timing, so that a run
takes the same way each time (docs/decisions/023-dense-layers-on-cpu.md).
"""

import dataclasses
import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from algorithmic_efficiency.nn import processor


@dataclasses.dataclass(frozen=True)
class Route:
    """Which products of a dense layer oneDNN makes, where it was measured to be faster.

    Attributes:
      least: the multiplications rows * inputs * outputs from which on it makes any.
      inputs: from how many inputs on it makes the gradient of the weights too.
    """

    least: float = math.inf
    inputs: float = math.inf


_MKL = Route()
# Family of AMD's processors with AVX-512 (25: Zen 4, 26: Zen 5) -> their route.
MEASURED = {25: Route(2**25, inputs=1024), 26: Route(2**23, inputs=1)}


def choose(cpu: processor.Processor) -> Route:
    """Returns the route of a processor; one that was not measured keeps MKL."""
    if cpu.vendor != "AuthenticAMD" or "avx512f" not in cpu.flags:
        return _MKL
    return MEASURED.get(cpu.family, _MKL)


@functools.cache
def route() -> Route:
    """Returns the route of this process."""
    has_operation = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not (torch.backends.mkldnn.is_available() and has_operation):
        return _MKL
    return choose(processor.this())


def describe() -> str:
    """Returns the route of this process, for the record."""
    least, inputs = dataclasses.astuple(route())
    if least == math.inf:
        return "PyTorch's own"
    weights = f"weight gradients from {inputs} inputs on"
    return f"oneDNN from {least} multiplications on, {weights}"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns x [..., K] @ weight [M, K].T + bias [M], as `F.linear` does."""
    if torch.compiler.is_compiling() or _is_traced() or not _takes(x, weight, bias):
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)  # type: ignore[no-any-return]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns x [N, K] @ weight [M, K].T + bias by oneDNN, without a gradient.

    `weight` must be contiguous or the transpose of what is: a slice of rows that are
    longer takes oneDNN's reference code, a thousand times slower. `x` may be a slice.
    """
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


def weight_gradients(g: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Returns the sums over B, H and W of g [B, H, W, M] times x [B, H, W, K], [M, K].

    One for each x of the `parts` of an image, which need not be contiguous. oneDNN
    takes blocks of rows, which stay in the cache from one part to the next.
    """
    work = BLOCK * g.shape[-1] * parts[0].shape[-1]
    if work < route().least or not _multiplies(g, *parts):
        rows = g.flatten(0, 2)
        return [rows.T @ part.flatten(0, 2) for part in parts]
    sums: list[Tensor] = []
    height = max(1, BLOCK // g.shape[2])
    for example in range(len(g)):
        for block in (slice(i, i + height) for i in range(0, g.shape[1], height)):
            turned = g[example, block].flatten(0, 1).T.contiguous()
            products = [
                product(turned, part[example, block].reshape(-1, part.shape[-1]).T)
                for part in parts
            ]
            if sums:
                torch._foreach_add_(sums, products)
            else:
                sums = products
    return sums


BLOCK = 2500  # places of an image; 1250 to 2500 were the fastest (decision 023)


def _multiplies(*tensors: Tensor) -> bool:
    """Says whether oneDNN may make a product of a backward pass.

    Gradients of gradients, of several outputs at once and so on are PyTorch's.
    """
    return not torch.is_grad_enabled() and all(map(_is_plain, tensors)) and _is_eager()


def _takes(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Says whether oneDNN makes this layer; what cannot be told is left to PyTorch."""
    if x.numel() * weight.shape[0] < route().least:
        return False
    tensors = (x, weight) if bias is None else (x, weight, bias)
    return (
        all(map(_is_plain, tensors))
        and weight.dim() == 2
        and x.shape[-1:] == weight.shape[1:]
        and (weight.is_contiguous() or weight.t().is_contiguous())
        and (bias is None or (bias.shape == weight.shape[:1] and bias.stride(0) == 1))
        and _is_eager()
    )


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
    )


def _is_eager() -> bool:
    """Says whether operations are run as they are written, in float32."""
    return not (
        torch.compiler.is_compiling()
        or _is_traced()
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or not torch.backends.mkldnn.enabled
    )


def _is_traced() -> bool:
    return torch._C._get_tracing_state() is not None


class _Linear(torch.autograd.Function):
    """A dense layer of which oneDNN makes the products of the route."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        is_slice = rows.stride(1) == 1 and rows.stride(0) >= rows.shape[1]
        y = product(rows if is_slice else rows.contiguous(), weight, bias)
        # No view, as from F.linear: else no operation in place could follow.
        shape = (*x.shape[:-1], len(weight))
        return torch.ops.aten._unsafe_view(y, shape)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        rows, g = x.reshape(-1, x.shape[-1]), gradients[0].reshape(-1, len(weight))
        own = _multiplies(g)
        g = g.contiguous() if own else g
        x_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = product(g, weight.t()) if own else g @ weight
            x_gradient = x_gradient.reshape(x.shape)
        if ctx.needs_input_grad[1]:
            if own and len(weight.t()) >= route().inputs and weight.is_contiguous():
                weight_gradient = _weight_gradient(g, rows.contiguous())
            elif weight.is_contiguous():
                weight_gradient = g.t() @ rows
            else:
                weight_gradient = (rows.t() @ g).t()
        if ctx.needs_input_grad[2]:
            bias_gradient = g.sum(0)
        return x_gradient, weight_gradient, bias_gradient


def _weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """Returns g [N, M].T @ x [N, K] by oneDNN, which writes the wider side faster."""
    if g.shape[1] > x.shape[1]:
        return product(x.t(), g.t()).t().contiguous()
    return product(g.t(), x.t())
