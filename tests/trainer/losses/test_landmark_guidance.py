"""What the mesh sees with a gradient: the detector's own points, on filmed, turned and bent faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from shared.bundle import read_bundle
from shared.detectors.mesh import MeshDetector
from shared.detectors.region import Region, cut_region
from shared.expression import measure_expression
from shared.landmarks import IBUG68
from shared.pixels import from_network, to_network
from trainer.losses.face_regions import Squares
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.sampling.warp import warp_pictures

MODELS = Path(__file__).parents[3] / "models"
LOWER_INNER_LIP = [65, 66, 67]


@pytest.fixture(scope="module")
def teacher() -> LandmarkGuidance:
    return LandmarkGuidance(MODELS / "mesh")


@pytest.fixture(scope="module")
def detector() -> MeshDetector:
    return MeshDetector(MODELS / "mesh", threads=1)


def read_face(target: str, angle: float = 0.0) -> Tensor:
    """A target's reference picture (1, 3, 256, 256), turned counter-clockwise by degrees."""
    with Image.open(MODELS / target / "reference.jpg") as picture:
        return torch.from_numpy(to_network(np.asarray(picture.rotate(angle, Image.Resampling.BICUBIC))))


def detect(detector: MeshDetector, picture: Tensor) -> Tensor:
    """What the served detector finds, (1, 68, 2) in crop units."""
    face, *_ = detector.detect(from_network(picture.numpy())[0])
    return torch.from_numpy(face.landmarks / np.float32(256))[None]


@pytest.mark.parametrize("angle", [0.0, 25.0])
@pytest.mark.parametrize("target", ["franck", "cap"])
def test_it_sees_what_the_detector_finds(
    teacher: LandmarkGuidance, detector: MeshDetector, target: str, angle: float
) -> None:
    picture = read_face(target, angle)
    found = detect(detector, picture)
    rough = found + 0.01 * torch.tensor([1.0, -1.0])  # where to look hangs little on the landmarks it is told
    seen = teacher(picture, teacher.find(picture, rough, IBUG68))
    assert (seen.landmarks - found).norm(dim=2).mean() * 256 < 0.8
    assert [each.shape[0] for each in seen.features] == [1] * 5 + [2] * 3


def test_on_a_bent_face_it_sees_the_lips_where_they_are(teacher: LandmarkGuidance, detector: MeshDetector) -> None:
    picture = read_face("franck")
    filmed = torch.tensor(np.array(read_bundle(MODELS / "franck").neutral, np.float32))[None]
    filmed = teacher(picture, teacher.find(picture, filmed, IBUG68)).landmarks.detach()
    asked = filmed.clone()
    asked[:, LOWER_INNER_LIP, 1] += 0.012  # three pixels
    bent = warp_pictures(picture, filmed, asked)
    seen = teacher(bent, teacher.find(bent, asked, IBUG68)).landmarks.detach()
    found = detect(detector, bent)
    mouth = {
        name: float(measure_expression(points.numpy(), IBUG68)["mouth"][0])
        for name, points in (("asked", asked), ("seen", seen), ("found", found))
    }
    assert abs(mouth["seen"] - mouth["found"]) < 0.5 * abs(mouth["asked"] - mouth["found"])


def test_a_gradient_reaches_the_face_and_no_weight(teacher: LandmarkGuidance) -> None:
    picture = read_face("cap")
    neutral = torch.tensor(np.array(read_bundle(MODELS / "cap").neutral, np.float32))[None]
    places = teacher.find(picture, neutral, IBUG68)
    made = picture.clone().requires_grad_()
    teacher(made, places).landmarks[0, 66, 1].backward()
    assert made.grad is not None
    x, y = (neutral[0, 66] * 256).long().tolist()
    assert made.grad[:, :, y - 8 : y + 8, x - 8 : x + 8].abs().min() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_square_is_cut_as_the_detector_cuts_it() -> None:
    picture = read_face("franck")
    region = Region(x=120.0, y=140.0, side=180.0, angle=0.3)
    image = Image.fromarray(from_network(picture.numpy())[0])
    wanted = cut_region(image, region, 64, extend=True).astype(np.float32)
    places = (torch.tensor([value]) for value in (region.x / 256, region.y / 256, region.side / 256, region.angle))
    ours = Squares(*places).cut(picture, 64)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - wanted).mean() < 3  # the detector averages by whole blocks first
    points = torch.rand(1, 5, 2)
    square = Squares(*(torch.tensor([value]) for value in (0.4, 0.6, 0.5, -0.7)))
    np.testing.assert_allclose(
        square.to_picture(points)[0].numpy(), Region(0.4, 0.6, 0.5, -0.7).to_picture(points[0].numpy()), atol=1e-6
    )
