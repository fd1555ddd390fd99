"""The detector `mesh` with a gradient: its own points, on filmed and turned faces, in every scheme."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from shared.bundle import read_bundle
from shared.detectors.mesh import MeshDetector
from shared.detectors.region import Region, cut_region
from shared.errors import DetectorUnavailableError
from shared.landmarks import IBUG68, IBUG70, WFLW98, Scheme
from shared.pixels import from_network, to_network
from trainer.losses.face_regions import RegionBatch
from trainer.losses.landmark_guidance import LandmarkGuidance

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def detector() -> MeshDetector:
    return MeshDetector(MODELS / "mesh", threads=1)


def read_face(target: str, angle: float = 0.0) -> Tensor:
    """A target's reference picture (1, 3, 256, 256), turned counter-clockwise by degrees."""
    with Image.open(MODELS / target / "reference.jpg") as picture:
        return torch.from_numpy(to_network(np.asarray(picture.rotate(angle, Image.Resampling.BICUBIC))))


def read_neutral(target: str) -> Tensor:
    return torch.tensor(np.array(read_bundle(MODELS / target).neutral, np.float32))[None]


@pytest.mark.parametrize("scheme", [IBUG68, IBUG70])
@pytest.mark.parametrize("angle", [0.0, 25.0])
@pytest.mark.parametrize("target", ["franck", "cap"])
def test_it_finds_what_the_detector_finds(detector: MeshDetector, target: str, angle: float, scheme: Scheme) -> None:
    guidance, picture = LandmarkGuidance(MODELS / "mesh", scheme), read_face(target, angle)
    face, *_ = detector.detect(from_network(picture.numpy())[0])
    wanted = torch.from_numpy(face.landmarks / np.float32(256))[None, : scheme.count]
    rough = wanted + 0.01 * torch.tensor([1.0, -1.0])  # where it looks hangs little on the landmarks that it is told
    found = guidance(picture, rough)
    assert found.shape == (1, scheme.count, 2)
    assert (found - wanted).norm(dim=2).mean() * 256 < 0.8
    assert guidance.points == list(range(scheme.count))


def test_of_other_schemes_it_finds_the_points_that_they_share() -> None:
    guidance = LandmarkGuidance(MODELS / "mesh", WFLW98)
    assert len(guidance.points) == 70
    assert guidance.points[-2:] == [96, 97]
    landmarks = torch.zeros(1, 98, 2)
    landmarks[:, guidance.points] = read_neutral("franck")
    landmarks[:, [point for point in range(98) if point not in guidance.points]] = landmarks[:, guidance.points[:1]]
    found = guidance(read_face("franck"), landmarks)
    assert (found - landmarks[:, guidance.points]).norm(dim=2).mean() * 256 < 2


def test_a_gradient_reaches_the_face_and_no_weight() -> None:
    guidance, neutral = LandmarkGuidance(MODELS / "mesh", IBUG70), read_neutral("cap")
    made = read_face("cap").requires_grad_()
    guidance(made, neutral)[0, 66, 1].backward()
    assert made.grad is not None
    x, y = (neutral[0, 66] * 256).long().tolist()
    assert made.grad[:, :, y - 8 : y + 8, x - 8 : x + 8].abs().min() > 0
    assert all(parameter.grad is None for parameter in guidance.parameters())


def test_networks_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailableError, match=r"face_mesh\.onnx"):
        LandmarkGuidance(tmp_path, IBUG70)


def test_a_square_is_cut_as_the_detector_cuts_it() -> None:
    picture = read_face("franck")
    region = Region(x=120.0, y=140.0, side=180.0, angle=0.3)
    image = Image.fromarray(from_network(picture.numpy())[0])
    wanted = cut_region(image, region, 64, extend=True).astype(np.float32)
    places = (torch.tensor([value]) for value in (region.x / 256, region.y / 256, region.side / 256, region.angle))
    ours = RegionBatch(*places).cut(picture, 64)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - wanted).mean() < 3  # the detector averages by whole blocks first
    points = torch.rand(1, 5, 2)
    square = RegionBatch(*(torch.tensor([value]) for value in (0.4, 0.6, 0.5, -0.7)))
    np.testing.assert_allclose(
        square.to_picture(points)[0].numpy(), Region(0.4, 0.6, 0.5, -0.7).to_picture(points[0].numpy()), atol=1e-6
    )
