"""The face-recognition network: one person is one and two are two; its weights are folded as TensorFlow adds them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from shared.bundle import read_bundle
from shared.landmarks import IBUG68
from shared.pixels import to_network
from trainer.convert.faces import fold, read_weights
from trainer.errors import RecognitionUnavailableError
from trainer.losses.identity_guidance import IdentityGuidance
from trainer.losses.terms import perceptual

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def teacher() -> IdentityGuidance:
    return IdentityGuidance(MODELS / "faces")


def read_face(target: str, angle: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A target's reference picture (1, 3, 256, 256), turned counter-clockwise by radians, and its landmarks."""
    turned = np.array(read_bundle(MODELS / target).neutral, np.float32) - 0.5
    turned = turned @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32) + 0.5
    with Image.open(MODELS / target / "reference.jpg") as picture:
        pixels = np.asarray(picture.rotate(np.degrees(angle), Image.Resampling.BICUBIC))
    return torch.from_numpy(to_network(pixels)), torch.from_numpy(turned[None])


@pytest.mark.parametrize(("target", "other"), [("franck", "cap"), ("cap", "franck")])
def test_a_turned_and_darkened_face_is_the_same_person_and_another_is_not(
    teacher: IdentityGuidance, target: str, other: str
) -> None:
    picture, landmarks = read_face(target)
    here = teacher(picture, landmarks, IBUG68).descriptors
    assert here.norm(dim=1).item() == pytest.approx(1)
    turned, moved = read_face(target, 0.3)
    assert (teacher(turned * 0.8, moved, IBUG68).descriptors - here).norm() < 0.5
    assert (teacher(*read_face(other), IBUG68).descriptors - here).norm() > 0.8


def test_a_gradient_reaches_the_face_alone(teacher: IdentityGuidance) -> None:
    picture, landmarks = read_face("franck")
    picture.requires_grad_()
    face = teacher(picture, landmarks * 0.5 + 0.25, IBUG68)  # half as large, in the middle
    sum(each.sum() for each in (face.descriptors, *face.features)).backward()
    assert picture.grad is not None
    assert picture.grad[..., 120:136, 120:136].abs().sum() > 0
    assert picture.grad[..., :16, :].abs().sum() + picture.grad[..., :16].abs().sum() == 0
    assert all(each.grad is None for each in teacher.parameters())


def test_features_are_of_every_size_and_tell_a_blurred_face(teacher: IdentityGuidance) -> None:
    picture, landmarks = read_face("franck")
    sharp = teacher(picture, landmarks, IBUG68).features
    assert [tuple(each.shape[1:]) for each in sharp] == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14)]
    blurred, darker = (
        perceptual(teacher(other, landmarks, IBUG68).features, sharp)
        for other in (F.avg_pool2d(picture, 5, 1, 2), picture * 0.98)
    )
    assert blurred > 3 * darker > 0


def test_where_the_network_is_not_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(RecognitionUnavailableError, match=r"faceres\.npz.*convert_faces"):
        IdentityGuidance(tmp_path)


def test_batch_normalisation_goes_into_the_convolution_before_it() -> None:
    topology = {
        "modelTopology": {
            "node": [
                {"op": "Conv2D", "input": ["picture", "kernel"]},
                {"op": "Add", "input": ["a", "shift"]},
                {"op": "DepthwiseConv2dNative", "input": ["b", "each"]},
                {"op": "Mul", "input": ["c", "scale"]},
                {"op": "Add", "input": ["d", "shift"]},
                {"op": "Mean", "input": ["e", "axes"]},
                {"op": "Add", "input": ["f", "shift"]},
            ]
        },
        "weightsManifest": [
            {
                "weights": [
                    {"name": "kernel", "shape": [1, 1, 1, 2], "dtype": "float32", "quantization": {"dtype": "float16"}},
                    {"name": "shift", "shape": [2], "dtype": "float32"},
                    {"name": "each", "shape": [1, 1, 2, 1], "dtype": "float32"},
                    {"name": "scale", "shape": [2], "dtype": "float32"},
                ]
            }
        ],
    }
    parts = [np.array([2, 3], np.float16), *(np.array(pair, np.float32) for pair in ((10, 20), (5, 7), (0.5, 2)))]
    state = fold(topology, read_weights(topology, b"".join(part.tobytes() for part in parts)))
    assert {name: (value.shape, value.ravel().tolist()) for name, value in state.items()} == {
        "layers.0.weight": ((2, 1, 1, 1), [2, 3]),
        "layers.0.bias": ((2,), [10, 20]),
        "layers.1.weight": ((2, 1, 1, 1), [2.5, 14]),
        "layers.1.bias": ((2,), [10, 20]),
    }
