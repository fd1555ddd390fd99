"""Rewriting of the detector's networks: PRelu as Relu and two depthwise convolutions."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainer.convert.mesh import ConversionError, replace_prelus

SLOPES = np.array([0.25, -0.5, 1.0], np.float32)


def make_model(slopes: np.ndarray) -> onnx.ModelProto:
    """PRelu of the input plus one."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 2, 2]) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "one"], ["sum"]), helper.make_node("PRelu", ["sum", "slopes"], ["y"])]
    weights = [numpy_helper.from_array(np.float32(1), "one"), numpy_helper.from_array(slopes, "slopes")]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def test_prelu_becomes_relu_and_two_depthwise_convolutions() -> None:
    model = make_model(SLOPES.reshape(1, 3, 1, 1))
    result = replace_prelus(model)
    assert [node.op_type for node in result.graph.node] == ["Add", "Relu", "Conv", "Conv", "Add"]
    assert [node.op_type for node in model.graph.node] == ["Add", "PRelu"]  # the model given stays as it is
    assert "slopes" not in {tensor.name for tensor in result.graph.initializer}
    given = np.random.default_rng(0).normal(0, 2, (2, 3, 2, 2)).astype(np.float32)
    session = ort.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["y"], {"x": given})
    moved = given + 1
    np.testing.assert_allclose(found, np.where(moved > 0, moved, moved * SLOPES.reshape(3, 1, 1)), atol=1e-6)


def test_a_slope_for_each_pixel_is_refused() -> None:
    with pytest.raises(ConversionError, match="PRelu 'y' has no slope for each channel alone: slopes"):
        replace_prelus(make_model(np.ones((3, 2, 2), np.float32)))
