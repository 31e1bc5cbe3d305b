"""The operator BatchNormalization by itself, in onnx's evaluator and ONNX Runtime."""

import pytest

INPUTS = ("x", "scale", "bias", "mean", "var")


def model(opset, shape, momentum, *, x="float32", scale="float32", epsilon=1e-5):
    """Returns a checked model of one node in training mode."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    kinds = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}
    make, info = onnx.helper, onnx.helper.make_tensor_value_info
    dtypes = {"x": x, "scale": scale, "bias": scale}
    sizes = {"x": shape, "y": shape}

    def described(name):
        kind = kinds[dtypes.get(name, "float32")]
        return info(name, kind, sizes.get(name, shape[1:2]))

    outputs = ["y", "new_mean", "new_var"]
    node = make.make_node(
        "BatchNormalization",
        INPUTS,
        outputs,
        momentum=momentum,
        epsilon=epsilon,
        training_mode=1,
    )
    dtypes["y"] = x
    ends = list(map(described, INPUTS)), list(map(described, outputs))
    graph = make.make_graph([node], "one node", *ends)
    ids = [make.make_opsetid("", opset)]
    made = make.make_model(graph, opset_imports=ids, ir_version=8)
    onnx.checker.check_model(made)
    return made


def evaluate(made, inputs):
    """Returns y, running mean and variance of onnx's reference evaluator."""
    reference = pytest.importorskip("onnx.reference")
    feeds = dict(zip(INPUTS, inputs, strict=True))
    return reference.ReferenceEvaluator(made).run(None, feeds)


def run(made, inputs):
    """Returns y, running mean and variance of ONNX Runtime on the CPU."""
    runtime = pytest.importorskip(
        "onnxruntime", reason="the package onnxruntime is not installed"
    )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = runtime.InferenceSession(made.SerializeToString(), options, providers)
    return session.run(None, dict(zip(INPUTS, inputs, strict=True)))
