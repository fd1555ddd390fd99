"""The detector's networks under PyTorch: the same answers as under ONNX Runtime, and a gradient to the picture."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from trainer.networks.onnx_graph import OnnxGraph

MODELS = Path(__file__).parents[2] / "models"


def read_pictures(size: int) -> np.ndarray:
    """Two faces, and one of them mirrored: (3, S, S, 3) uint8."""
    faces = []
    for name in ("franck", "cap"):
        with Image.open(MODELS / name / "reference.jpg") as picture:
            faces.append(np.asarray(picture.resize((size, size))))
    return np.stack([*faces, faces[0][:, ::-1]])


@pytest.mark.parametrize(("name", "size"), [("face_mesh", 192), ("eye", 64)])
def test_pytorch_answers_as_onnx_runtime_does(name: str, size: int) -> None:
    path, pictures = MODELS / "mesh" / f"{name}.onnx", read_pictures(size)
    wanted = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": pictures})
    graph = OnnxGraph(path, start="input_1")
    given = torch.from_numpy(pictures.transpose(0, 3, 1, 2) / np.float32(255)).requires_grad_()
    answers = graph(given)
    names = [output.name for output in onnx.load(path).graph.output]
    assert list(answers) == names
    for ours, theirs in zip(answers.values(), wanted, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=2e-3)  # in pixels of the network's input
    answers[names[0]].sum().backward()
    assert given.grad is not None
    assert (given.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(not parameter.requires_grad for parameter in graph.parameters())


def test_another_kind_of_node_is_refused(tmp_path: Path) -> None:
    value, end = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "c"))
    nodes = [helper.make_node("Neg", ["a"], ["b"]), helper.make_node("Exp", ["b"], ["c"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "small", [value], [end])), tmp_path / "small.onnx")
    with pytest.raises(ValueError, match=r"small\.onnx has nodes that are not known here: Exp"):
        OnnxGraph(tmp_path / "small.onnx", start="b")
