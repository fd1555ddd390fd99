"""The trials on systems of known worth: one that makes what is asked, one that never moves, one without pictures."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from shared.bundle import BundleManifest, read_bundle
from shared.landmarks import IBUG68, Points
from shared.pixels import Image8
from tests.fixtures.acted import RULE, crop_units, film_points, paint, write_dataset
from tests.service.tiny_service import write_bundle
from trainer.data.dataset import SPLITS, FrameDataset
from trainer.errors import ScoredFolderError
from trainer.evaluation.baselines import Shot
from trainer.evaluation.drivers import Clip, Still, open_clip
from trainer.evaluation.face_analyzer import Observation
from trainer.evaluation.protocols import Identity, try_cross, try_cycle, try_own, try_real, try_second, try_stills

SIZE = 48


class Memory:
    """Analyzers that see the landmarks a picture was painted from, and a face whose number is its brightness."""

    scheme = "ibug68"

    def __init__(self) -> None:
        self.known: dict[bytes, Points] = {}

    def paint(self, landmarks: Points) -> Image8:
        picture = paint(landmarks, SIZE)
        self.known[picture.tobytes()] = landmarks
        return picture

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        descriptor = None if expected is None else np.full(128, picture.mean() / 255)
        return Observation(self.known.get(picture.tobytes()), descriptor)


class Contrary(Memory):
    """FaceAnalyzer whose second reading takes an open mouth for a shut one: the inner lips have traded places."""

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        seen = super().look(picture, expected)
        if seen.landmarks is None or expected is None:
            return seen
        upper, lower = (list(each) for each in IBUG68.openings["mouth"])
        second = seen.landmarks.copy()
        second[upper], second[lower] = seen.landmarks[lower], seen.landmarks[upper]
        return replace(seen, second=second)


class Painter:
    """Paints the very landmarks of a shot: as good as can be."""

    name = "painter"
    needs_neutral = False

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def make(self, shot: Shot) -> Image8 | None:
        return self.memory.paint(crop_units(shot.landmarks[None])[0])


class Statue(Painter):
    """Always the driver's neutral face."""

    def make(self, shot: Shot) -> Image8 | None:
        assert shot.neutral is not None
        return self.memory.paint(shot.neutral)


class Blank(Painter):
    """A picture on which no face is found."""

    def make(self, shot: Shot) -> Image8 | None:
        return np.zeros((SIZE, SIZE, 3), np.uint8)


class Forgetful(Painter):
    """Has none of the pictures, or lacks one in two."""

    def __init__(self, memory: Memory, none: bool) -> None:
        super().__init__(memory)
        self.none = none

    def make(self, shot: Shot) -> Image8 | None:
        return None if self.none or int(shot.name[-1]) % 2 else super().make(shot)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, memory: Memory) -> Mapping[str, Clip]:
    """Two people's test frames, painted, with their landmarks known to the eyes."""
    folder = tmp_path_factory.mktemp("data")
    opened = {}
    for name, phase in (("ada", 0.0), ("bob", 4.0)):
        points = film_points(70, phase=phase)
        split = np.repeat([SPLITS["train"], SPLITS["test"]], (30, 40)).astype(np.int8)
        for frame in crop_units(points):
            memory.paint(frame)
        dataset = FrameDataset(write_dataset(folder, name, points, size=SIZE, split=split))
        opened[name] = open_clip(dataset, memory, every=1)
    return opened


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, BundleManifest]:
    folder = tmp_path_factory.mktemp("models")
    for name in ("ada", "bob"):
        write_bundle(folder, name)
    return {name: read_bundle(folder / name).model_copy(update={"crop": RULE}) for name in ("ada", "bob")}


IDENTITY = Identity({"ada": np.zeros(128), "bob": np.ones(128)}, [np.ones(128)])


def test_own_frames_painted_again(clips: Mapping[str, Clip], memory: Memory) -> None:
    figures = {name: each.value for name, each in try_own(Painter(memory), clips["ada"], memory).items()}
    assert figures["ssim"] == pytest.approx(1, abs=1e-3)
    assert figures["gradient_energy_box"] == pytest.approx(1, abs=1e-2)
    assert figures["landmark_error"] == pytest.approx(0, abs=1e-3)
    assert figures["face_found"] == 1
    statue = try_own(Statue(memory), clips["ada"], memory)
    assert statue["landmark_error"].value > 1
    assert statue["ssim"].value < 0.95
    assert statue["psnr"].value < figures["psnr"]


def test_without_a_face_there_is_no_landmark_error(clips: Mapping[str, Clip], memory: Memory) -> None:
    figures = try_own(Blank(memory), clips["ada"], memory)
    assert figures["face_found"].value == 0
    assert "landmark_error" not in figures
    assert figures["psnr"].frames == 40


def test_what_the_real_frames_come_out_at(clips: Mapping[str, Clip], memory: Memory) -> None:
    figures = try_real(clips["ada"], memory, IDENTITY)
    assert figures["landmark_error"].value == pytest.approx(0, abs=1e-5)
    brightness = clips["ada"].crops.mean(axis=(1, 2, 3)) / 255
    assert figures["id"].value == pytest.approx(float(brightness.mean()) * np.sqrt(128), rel=1e-5)


def test_an_expression_that_arrives_and_one_that_does_not(
    clips: Mapping[str, Clip], bundles: Mapping[str, BundleManifest], memory: Memory
) -> None:
    crossed = try_cross(Painter(memory), clips["ada"], bundles["bob"], memory, IDENTITY)
    # a film of a turning head without a tilt: roll is what rounding leaves of none
    for name in set(clips["ada"].measures) - {"roll"}:
        assert crossed.figures[name].value == pytest.approx(1, abs=0.01), name
    assert crossed.figures["moving_mouth"].frames == 40
    assert len(crossed.shown) == 5
    shown = crossed.shown[1].mean() / 255
    assert crossed.figures["id"].value == pytest.approx((1 - shown) * np.sqrt(128), rel=0.05)
    statue = try_cross(Statue(memory), clips["ada"], bundles["bob"], memory, IDENTITY)
    assert statue.figures["mouth"].value == 0


def test_expression_is_read_a_second_time(
    clips: Mapping[str, Clip], bundles: Mapping[str, BundleManifest], memory: Memory
) -> None:
    contrary = Contrary()
    contrary.known = memory.known
    figures = try_cross(Painter(contrary), clips["ada"], bundles["bob"], contrary, IDENTITY).figures
    assert figures["mouth"].value == pytest.approx(1, abs=0.01)
    assert figures["second_mouth"].value == pytest.approx(-1, abs=0.01)
    assert figures["second_yaw"].value == pytest.approx(1, abs=0.01)
    real = try_second(clips["ada"], contrary)
    assert real["second_mouth"].value == pytest.approx(-1, abs=0.01)
    assert set(real) == {f"second_{name}" for name in clips["ada"].measures}
    once = try_cross(Painter(memory), clips["ada"], bundles["bob"], memory, IDENTITY).figures
    assert not [name for name in once if name.startswith("second_")]


def test_the_cycle_there_and_back(
    clips: Mapping[str, Clip], bundles: Mapping[str, BundleManifest], memory: Memory
) -> None:
    ada, bob = clips["ada"], clips["bob"]

    def run(system: Painter) -> Mapping[str, float]:
        crossed = try_cross(system, ada, bundles["bob"], memory, IDENTITY)
        figures = try_cycle(system, ada, bob, crossed.observations, bundles["ada"], memory)
        return {name: each.value for name, each in figures.items()}

    there_and_back = run(Painter(memory))
    assert there_and_back["lmk"] == pytest.approx(0, abs=1e-4)
    assert there_and_back["ssim"] == pytest.approx(1, abs=1e-3)
    assert there_and_back["ssim_box"] == pytest.approx(1, abs=1e-3)
    stuck = run(Statue(memory))  # ends in bob's neutral shape, from which the way back starts
    difference = bob.neutral.astype(np.float64) - ada.units
    assert stuck["lmk"] == pytest.approx(np.linalg.norm(difference, axis=(1, 2)).mean(), rel=1e-4)
    assert stuck["lmk_point"] == pytest.approx(np.linalg.norm(difference, axis=2).mean(), rel=1e-4)
    assert stuck["ssim_box"] < stuck["ssim"]  # the painted face moves, and what is about it does not
    assert run(Blank(memory)) == {}


def test_strangers(bundles: Mapping[str, BundleManifest], memory: Memory) -> None:
    points = film_points(1)[0]
    still = Still("one", np.zeros((300, 300, 3), np.uint8), 0, points, IBUG68)
    figures, pictures = try_stills(Painter(memory), [still], bundles["ada"], memory, IDENTITY)
    brightness = pictures[0].mean() / 255
    assert figures["id"].value == pytest.approx(brightness * np.sqrt(128), rel=1e-5)
    assert figures["id_to_source"].value == pytest.approx((1 - brightness) * np.sqrt(128), rel=1e-5)
    assert figures["nearer_target"].value == float(brightness < 0.5)


def test_a_stranger_without_a_descriptor_shifts_nobody(bundles: Mapping[str, BundleManifest], memory: Memory) -> None:
    still = Still("one", np.zeros((300, 300, 3), np.uint8), 0, film_points(1)[0], IBUG68)
    two = Identity(IDENTITY.targets, [None, np.ones(128)])
    figures, _ = try_stills(Painter(memory), [still, still], bundles["ada"], memory, two)
    alone, _ = try_stills(Painter(memory), [still], bundles["ada"], memory, IDENTITY)
    assert figures["id_to_source"].value == alone["id_to_source"].value
    assert (figures["id"].frames, figures["id_to_source"].frames) == (2, 1)


def test_all_pictures_or_none(clips: Mapping[str, Clip], bundles: Mapping[str, BundleManifest], memory: Memory) -> None:
    assert try_own(Forgetful(memory, none=True), clips["ada"], memory) == {}
    crossed = try_cross(Forgetful(memory, none=True), clips["ada"], bundles["bob"], memory, IDENTITY)
    assert not crossed.figures
    assert not crossed.observations
    with pytest.raises(ScoredFolderError, match=r"lacks 20 of the 40 pictures like own/ada-ada/000031\.png"):
        try_own(Forgetful(memory, none=False), clips["ada"], memory)
