"""An ONNX graph of the detector `mesh`, run by PyTorch: a gradient goes through it to its input.

The ONNX file stays the one place of the weights. These networks are made of eight kinds of node, run in the file's
order.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

Attributes: TypeAlias = Mapping[str, Any]


class OnnxGraph(nn.Module):
    """The part of an ONNX file that follows the value `start`, its weights held fixed.

    Raises ValueError where the file has a kind of node that is not in `NODES`.
    """

    def __init__(self, path: Path, start: str) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        self.start = start
        self.outputs = [output.name for output in graph.output]
        self.weights = nn.ParameterDict(
            {
                _key(tensor.name): nn.Parameter(torch.tensor(numpy_helper.to_array(tensor)), requires_grad=False)
                for tensor in graph.initializer
            }
        )
        nodes = list(graph.node)
        first = next(place for place, node in enumerate(nodes) if start in node.output) + 1
        self.steps = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
            )
            for node in nodes[first:]
        ]
        if unknown := {kind for kind, *_ in self.steps} - set(NODES):
            raise ValueError(f"{path.name} has nodes that are not known here: {', '.join(sorted(unknown))}")

    def forward(self, value: Tensor) -> dict[str, Tensor]:
        """The graph's outputs, by name."""
        values = {self.start: value}
        for kind, inputs, output, attributes in self.steps:
            given = [values[name] if name in values else self.weights[_key(name)] for name in inputs]
            values[output] = NODES[kind](given, attributes)
        return {name: values[name] for name in self.outputs}


def _key(name: str) -> str:
    return name.replace(".", "_")  # a ParameterDict's keys have no dots


def _conv(given: list[Tensor], attributes: Attributes) -> Tensor:
    value, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    top, left, bottom, right = attributes["pads"]
    if (top, left) != (bottom, right):
        value, top, left = F.pad(value, (left, right, top, bottom)), 0, 0
    return F.conv2d(value, weight, bias, attributes["strides"], (top, left), groups=attributes["group"])


def _pad(given: list[Tensor], attributes: Attributes) -> Tensor:
    before, after = given[1].view(2, -1).tolist()
    return F.pad(given[0], [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair])


NODES: Mapping[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "Conv": _conv,
    "Relu": lambda given, attributes: given[0].relu(),
    "Add": lambda given, attributes: given[0] + given[1],
    "Mul": lambda given, attributes: given[0] * given[1],
    "MaxPool": lambda given, attributes: F.max_pool2d(given[0], attributes["kernel_shape"], attributes["strides"]),
    "Pad": _pad,
    "Reshape": lambda given, attributes: given[0].reshape(len(given[0]), *given[1].tolist()[1:]),
    "Transpose": lambda given, attributes: given[0].permute(attributes["perm"]),
}
