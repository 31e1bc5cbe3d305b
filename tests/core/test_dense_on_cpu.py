"""Dense layers by oneDNN: same values as `F.linear`, and its own way elsewhere."""

import contextlib
import copy

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.nn import processor, pytorch_cpu
from algorithmic_efficiency.nn.pytorch import Linear

CPUINFO = """processor\t: 0
vendor_id\t: {}
cpu family\t: {}
flags\t\t: fpu avx2 {}

processor\t: 1
vendor_id\t: GenuineIntel
"""


class Calls:
    """The route of a processor, taken from the first multiplication on, and counted."""

    def __init__(self, monkeypatch, inputs=1):
        if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            pytest.skip("this PyTorch is without oneDNN's operation")
        self.count, product = 0, pytorch_cpu.product
        every = pytorch_cpu.Route(1, inputs=inputs)

        def counted(*arguments):
            self.count += 1
            return product(*arguments)

        monkeypatch.setattr(pytorch_cpu, "route", lambda: every)
        monkeypatch.setattr(pytorch_cpu, "product", counted)


@pytest.fixture
def calls(monkeypatch):
    return Calls(monkeypatch)


def normal(seed, *shape, **options):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, **options)


def with_gradients(function, tensors, g):
    """The result and the gradients of those tensors that are asked for one."""
    y = function(*tensors)
    leaves = [t for t in tensors if t is not None and t.requires_grad]
    return y.detach(), *torch.autograd.grad(y, leaves, g)


def compare(tensors, g=None):
    """Compares with float64: all results are as near to it as float32 allows."""
    exact = [None if t is None else t.detach().double() for t in tensors]
    for tensor, twin in zip(tensors, exact, strict=True):
        if twin is not None:
            twin.requires_grad_(tensor.requires_grad)
    shape = (*tensors[0].shape[:-1], len(tensors[1]))
    g = normal(9, *shape) if g is None else g
    actual = with_gradients(pytorch_cpu.linear, tensors, g)
    expected = with_gradients(F.linear, exact, g.double())
    for value, reference in zip(actual, expected, strict=True):
        assert value.dtype == torch.float32
        assert value.shape == reference.shape
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-5)
    return actual


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3), (3, 5), (67, 129), (130, 65)])
@pytest.mark.parametrize("lead", [(), (1,), (7,), (33,), (2, 3), (3, 1, 5)])
def test_values_and_gradients_are_those_of_pytorch(calls, lead, sizes, with_bias):
    inputs, outputs = sizes
    x = normal(0, *lead, inputs, requires_grad=True)
    weight = normal(1, outputs, inputs, requires_grad=True)
    bias = normal(2, outputs, requires_grad=True) if with_bias else None
    y, _, weight_gradient, *_ = compare((x, weight, bias))
    assert calls.count == 3
    assert weight_gradient.is_contiguous()
    assert y.is_contiguous()


@pytest.mark.parametrize("lead", [(0,), (0, 4), (2, 0)])
def test_no_rows(calls, lead):
    x = normal(0, *lead, 5, requires_grad=True)
    weight, bias = (normal(1, *s, requires_grad=True) for s in ((3, 5), (3,)))
    _, _, weight_gradient, bias_gradient = compare((x, weight, bias))
    assert calls.count == 0
    assert not weight_gradient.any()
    assert not bias_gradient.any()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x[:, ::2],
        lambda x: x[::2],
        lambda x: x[:, 3:19],
        lambda x: x[:1].expand(9, -1),
        lambda x: x[:, :1].expand(-1, 9),
        lambda x: x.unflatten(0, (4, 5)).transpose(0, 1),
        lambda x: x.unflatten(1, (4, 5)).transpose(1, 2),
    ],
)
def test_inputs_and_gradients_that_are_views(calls, view):
    x, g = view(normal(0, 20, 20)), view(normal(1, 20, 20))
    x.requires_grad_()
    weight = normal(2, g.shape[-1], x.shape[-1], requires_grad=True)
    compare((x, weight, normal(3, g.shape[-1], requires_grad=True)), g)
    assert calls.count == 3


def test_a_transposed_weight_keeps_its_layout(calls):
    x, kernel = normal(0, 9, 4), normal(1, 4, 6, requires_grad=True)
    compare((x, kernel.T.detach().requires_grad_(), None))
    y = pytorch_cpu.linear(x, kernel.T, None)
    (gradient,) = torch.autograd.grad(y.square().sum(), kernel)
    assert gradient.is_contiguous()
    torch.testing.assert_close(gradient, 2 * x.T @ (x @ kernel.detach()))
    assert calls.count == 2  # the gradients of such a weight are MKL's


@pytest.mark.parametrize(("wanted", "count"), [("x", 2), ("w", 2), ("b", 1), ("", 1)])
def test_only_the_gradients_that_are_wanted(calls, wanted, count):
    tensors = (normal(0, 6, 4), normal(1, 3, 4), normal(2, 3))
    for name, tensor in zip("xwb", tensors, strict=True):
        tensor.requires_grad_(name in wanted)
    if wanted:
        compare(tensors)
    else:
        assert not pytorch_cpu.linear(*tensors).requires_grad
    assert calls.count == count


def test_narrow_layers_leave_the_weight_gradient_to_mkl(monkeypatch):
    calls = Calls(monkeypatch, inputs=8)
    for inputs, count in ((7, 2), (8, 3)):
        calls.count = 0
        x = normal(0, 5, inputs, requires_grad=True)
        compare((x, normal(1, 3, inputs, requires_grad=True), None))
        assert calls.count == count


def test_layers_behave_as_those_of_pytorch(calls):
    layer = Linear(6, 5)
    assert isinstance(layer, torch.nn.Linear)
    plain = torch.nn.Linear(6, 5)
    plain.load_state_dict(copy.deepcopy(layer).state_dict())
    x = normal(0, 2, 3, 6)
    # Activations in place follow dense layers; a view would refuse them.
    F.relu(layer(x), inplace=True).sum().backward()
    F.relu(plain(x), inplace=True).sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), plain(x))
    assert calls.count == 3


def test_runs_are_equal_bit_for_bit(calls):
    tensors = [normal(i, *s) for i, s in enumerate(((50, 64), (96, 64), (96,)))]
    for tensor in tensors:
        tensor.requires_grad_()
    first, second = compare(tensors), compare(tensors)
    assert calls.count == 6
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_gradients_of_gradients_are_those_of_pytorch(calls):
    def second(function):
        x, w, b = (
            normal(i, *s, requires_grad=True)
            for i, s in enumerate(((4, 3), (5, 3), (5,)))
        )
        y = function(x, w, b).tanh().sum()
        first = torch.autograd.grad(y, (x, w, b), create_graph=True)
        return torch.autograd.grad(sum(t.square().sum() for t in first), (x, w, b))

    for value, reference in zip(
        second(pytorch_cpu.linear), second(F.linear), strict=True
    ):
        torch.testing.assert_close(value, reference)
    assert calls.count == 3  # forward, and the second pass through the layer itself


def test_gradients_of_several_outputs_at_once(calls):
    x, w = normal(0, 4, 3, requires_grad=True), normal(1, 5, 3, requires_grad=True)
    y, many = pytorch_cpu.linear(x, w, None), normal(2, 6, 4, 5)
    gx, gw = torch.autograd.grad(y, (x, w), many, is_grads_batched=True)
    torch.testing.assert_close(gx, many @ w)
    torch.testing.assert_close(gw, many.mT @ x)
    assert calls.count == 3  # of which PyTorch makes loops


def of_pytorch(function, *arguments):
    """Asserts that a function of a layer gives the very bits that `F.linear` gives."""
    actual = function(pytorch_cpu.linear, *arguments)
    expected = function(F.linear, *arguments)
    assert actual.dtype == expected.dtype
    assert torch.equal(actual, expected)


def tangent(linear, x, w, b):
    with forward_ad.dual_level():
        y = linear(forward_ad.make_dual(x, torch.ones_like(x)), w, b)
        return forward_ad.unpack_dual(y).tangent


def gradient(linear, x, w, b):
    return torch.func.grad(lambda w: linear(x, w, b).square().sum())(w)


def compiled(linear, x, w, b):
    function = torch.compile(
        lambda x: linear(x, w, b) * 2, backend="eager", fullgraph=True
    )
    return function(x)


def traced(linear, x, w, b):
    function = torch.jit.trace(lambda x: linear(x, w, b), x, check_trace=False)
    return function(x)


def within(context):
    def function(linear, *arguments):
        with context():
            return linear(*arguments)

    return function


@contextlib.contextmanager
def without_onednn():
    """As `torch.backends.mkldnn.flags` does, which warns of other settings."""
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(True)


ELSEWHERE = {
    "vmap": lambda linear, x, w, b: torch.vmap(lambda x: linear(x, w, b))(x),
    "functional gradient": gradient,
    "forward mode": tangent,
    "compiled": compiled,
    "traced": traced,
    "watched": within(lambda: FlopCounterMode(display=False)),
    "autocast": within(lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
    "oneDNN switched off": within(without_onednn),
    "float64": lambda linear, *tensors: linear(*(t.double() for t in tensors)),
    "sliced weight": lambda linear, x, w, b: linear(x[:, :4], w[:, :4], b),
    "sliced bias": lambda linear, x, w, b: linear(x, w[:4], b[::2]),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_elsewhere_it_is_pytorchs_own(calls, name):
    of_pytorch(ELSEWHERE[name], normal(0, 6, 5), normal(1, 8, 5), normal(2, 8))
    assert calls.count == 0


def test_tensors_without_memory_are_pytorchs(calls):
    with torch.device("meta"):
        y = Linear(4, 3)(torch.zeros(2, 4))
    assert y.shape == (2, 3)
    assert calls.count == 0


def test_small_layers_are_pytorchs(monkeypatch, calls):
    route = pytorch_cpu.Route(6 * 5 * 8, inputs=1)
    monkeypatch.setattr(pytorch_cpu, "route", lambda: route)
    x, w = normal(0, 6, 5), normal(1, 8, 5)
    of_pytorch(lambda linear: linear(x[1:], w, None))
    assert calls.count == 0
    pytorch_cpu.linear(x, w, None)
    assert calls.count == 1


def test_a_wrong_size_is_pytorchs_error(calls):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        pytorch_cpu.linear(normal(0, 6, 5), normal(1, 8, 4), None)
    assert calls.count == 0


@pytest.mark.parametrize("block", [1, 20, 2500])
def test_weight_gradients_in_blocks(monkeypatch, calls, block):
    monkeypatch.setattr(pytorch_cpu, "BLOCK", block)
    wide = normal(0, 2, 13, 6, 8)
    g, parts = normal(1, 2, 6, 3, 5), [wide[:, i : i + 11 : 2, ::2] for i in range(3)]
    with torch.no_grad():
        sums = pytorch_cpu.weight_gradients(g, parts)
    blocks = 2 * (6 if block == 1 else 1)
    assert calls.count == 3 * blocks
    plain = pytorch_cpu.weight_gradients(g.double(), [p.double() for p in parts])
    assert calls.count == 3 * blocks
    for value, reference, part in zip(sums, plain, parts, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-5)
        expected = torch.einsum("bhwf,bhwc->fc", g.double(), part.double())
        torch.testing.assert_close(reference, expected)


@pytest.mark.parametrize(
    ("vendor", "family", "flags", "takes"),
    [
        ("AuthenticAMD", 26, "avx512f", True),
        ("AuthenticAMD", 25, "avx512f", True),
        ("AuthenticAMD", 25, "", False),  # Zen 3
        ("AuthenticAMD", 23, "", False),
        ("AuthenticAMD", 27, "avx512f", False),  # nobody has measured there
        ("HygonGenuine", 26, "avx512f", False),
        ("GenuineIntel", 6, "avx512f amx_tile", False),
    ],
)
def test_the_processor_chooses(vendor, family, flags, takes):
    cpu = processor.parse(CPUINFO.format(vendor, family, flags))
    assert (cpu.vendor, cpu.family) == (vendor, family)
    assert pytorch_cpu.choose(cpu) == pytorch_cpu.choose(cpu)
    assert (pytorch_cpu.choose(cpu) != pytorch_cpu.Route()) == takes


def test_a_processor_of_which_nothing_is_known(monkeypatch, tmp_path):
    for text in ("", "nonsense", "cpu family : many\n"):
        assert processor.parse(text) == processor.Processor()
    assert pytorch_cpu.choose(processor.Processor()) == pytorch_cpu.Route()
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "missing")
    assert processor.this.__wrapped__() == processor.Processor()


def test_the_record_tells_the_route(monkeypatch):
    backend = base.make("pytorch")
    for route, text in (
        (pytorch_cpu.Route(), "PyTorch's own"),
        (
            pytorch_cpu.Route(64, inputs=8),
            "oneDNN from 64 multiplications on, weight gradients from 8 inputs on",
        ),
    ):
        monkeypatch.setattr(pytorch_cpu, "route", lambda route=route: route)
        expected = "the GPU" if torch.cuda.is_available() else text
        assert backend.describe()["dense_layers"] == expected


def test_every_dense_layer_of_the_models_can_take_it(mini_name):
    definition = registry.get(mini_name)
    with torch.device("meta"):
        model = base.import_model(definition, "pytorch")(**definition.model)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert layers
    assert all(isinstance(layer, Linear) for layer in layers)
