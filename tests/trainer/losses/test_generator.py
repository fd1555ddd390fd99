"""What Theta is held to in a step: what the mesh sees, and what each term's gradient reaches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shared.bundle import read_bundle
from shared.landmarks import IBUG68
from tests.trainer.tiny_training import (
    CONVERTER,
    ONE_STEP,
    change,
    load,
    make_frames,
    make_model,
    make_teachers,
    train,
)
from trainer.loops import generator as module
from trainer.losses import generator as tl2f_lesson
from trainer.losses.generator import GuidanceNetworks
from trainer.losses.identity_guidance import IdentityGuidance
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.networks.converter import Converter
from trainer.networks.tl2f import TL2F
from trainer.sampling.batches import Batch, TargetFrames

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def frames() -> TargetFrames:
    """Frames as large as Theta's pictures, and foreign landmarks."""
    return make_frames()


@pytest.fixture(scope="module")
def teachers() -> GuidanceNetworks:
    return make_teachers()


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers on every processor."""
    monkeypatch.setattr("trainer.loops.device.has_bfloat16", lambda device: False)


# What the mesh sees


@pytest.fixture(scope="module")
def mesh() -> LandmarkGuidance:
    return LandmarkGuidance(MODELS / "mesh")


@pytest.fixture(scope="module")
def filmed() -> TargetFrames:
    """A real face, twelve times, with the landmarks that it has."""
    with Image.open(MODELS / "franck" / "reference.jpg") as picture:
        crops = np.stack([np.asarray(picture)] * 12)
    neutral = torch.tensor(np.array(read_bundle(MODELS / "franck").neutral, np.float32))
    landmarks = neutral + 1e-3 * torch.randn(12, 68, 2, generator=torch.Generator().manual_seed(0))
    return replace(make_frames(), landmarks=landmarks, crops=crops, neutral=neutral, mesh_labelled=True)


@pytest.mark.parametrize("relabel", [True, False])
def test_a_bent_frame_is_asked_for_where_the_mesh_sees_it(
    filmed: TargetFrames,
    teachers: GuidanceNetworks,
    mesh: LandmarkGuidance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    relabel: bool,
) -> None:
    drawn: list[Batch] = []
    asked: list[torch.Tensor] = []
    draw_batch, weigh_pixels = module.draw_batch, tl2f_lesson.weigh_pixels

    def draw(*given: Any) -> Batch:
        drawn.append(draw_batch(*given))
        return drawn[-1]

    def weigh(landmarks: torch.Tensor, *given: Any) -> torch.Tensor:
        asked.append(landmarks)
        return weigh_pixels(landmarks, *given)

    monkeypatch.setattr(module, "draw_batch", draw)
    monkeypatch.setattr(tl2f_lesson, "weigh_pixels", weigh)
    config = change(steps=1, batch=4, warped=0.5, relabel=relabel)
    train(filmed, tmp_path, config, replace(teachers, mesh=mesh))
    batch = drawn[0]
    assert batch.bent.any()
    assert not batch.bent.all()
    seen = mesh(batch.pictures, mesh.find(batch.pictures, batch.landmarks, IBUG68)).landmarks
    expected = torch.where(batch.bent[:, None, None], seen, batch.landmarks) if relabel else batch.landmarks
    torch.testing.assert_close(asked[0], expected, atol=1e-4, rtol=0)
    assert (seen - batch.landmarks)[batch.bent].norm(dim=2).mean() > 0.002  # half a pixel: it does make a difference


def test_what_the_mesh_sees_is_asked_for_in_its_phase(
    filmed: TargetFrames,
    teachers: GuidanceNetworks,
    mesh: LandmarkGuidance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of: list[int] = []
    original = tl2f_lesson.perceptual

    def record(made: Any, real: Any) -> torch.Tensor:
        of.append(len(made[0]))
        return original(made, real)

    monkeypatch.setattr(tl2f_lesson, "perceptual", record)
    config = change(steps=4, gan_start=1.0, i2l=0.0, perceptual_start=0.5)
    train(filmed, tmp_path, config, replace(teachers, mesh=mesh))
    assert of == [3, 3]  # every picture of the last two of four steps


# What each gradient reaches

SILENT = CONVERTER.model_copy(update={"l2l": 0.0, "x_l2l": 0.0, "transfer": 0.0})


def learn_from(
    term: dict[str, float], frames: TargetFrames, folder: Path, rate: float = 5e-5
) -> tuple[TL2F, Converter, dict[str, bool]]:
    """Theta and converter after one step of nothing but these terms, and whether Theta, Phi and each Psi moved."""
    teachers = make_teachers(SILENT)
    if {"identity", "likeness"} & set(term):
        teachers = replace(teachers, faces=IdentityGuidance(MODELS / "faces"))
    elif "perceptual_start" in term:
        teachers = replace(teachers, mesh=LandmarkGuidance(MODELS / "mesh"))
    config = change(**ONE_STEP | term, converter_learning_rate=rate, warped=0.0, weight_decay=0.0)
    theta, converter = train(frames, folder, config, teachers)
    torch.manual_seed(3)
    begun = TL2F(config.network)
    before, after = make_model(teachers.lesson).state_dict(), load(folder, config)["converter"]

    def moved(part: str) -> bool:
        return any(not torch.equal(before[name], after[name]) for name in before if name.startswith(part))

    parts = {part: moved(part) for part in ("phi", "psi.ada", "psi.bob")}
    same = all(torch.equal(one, other) for one, other in zip(begun.parameters(), theta.parameters(), strict=True))
    return theta, converter, parts | {"theta": not same}


NOTHING = {"phi": False, "psi.ada": False, "psi.bob": False, "theta": False}
THROUGH_THETA = {"phi": True, "psi.ada": True, "psi.bob": False, "theta": True}
THETA_ALONE = NOTHING | {"theta": True}


def test_no_term_moves_nothing(frames: TargetFrames, tmp_path: Path) -> None:
    assert learn_from({}, frames, tmp_path)[2] == NOTHING


@pytest.mark.parametrize(
    "term",
    [
        {"i2l": 1.0, "i2l_start": 0.0},
        {"l2i_gan": 1.0},
        {"feature_matching": 1.0},
        {"l2i": 1.0},
        {"around": 1.0},
        {"perceptual": 1.0, "perceptual_start": 0.0},
        {"seen": 1.0, "perceptual_start": 0.0},
        {"opening": 1.0, "perceptual_start": 0.0},
        {"identity": 1.0, "perceptual_start": 0.0},
        {"likeness": 1.0, "perceptual_start": 0.0},
    ],
)
def test_a_term_reaches_theta_and_through_it_phi_and_psi(
    frames: TargetFrames, tmp_path: Path, term: dict[str, float]
) -> None:
    assert learn_from(term, frames, tmp_path / "joint")[2] == THROUGH_THETA
    assert learn_from(term, frames, tmp_path / "fixed", rate=0.0)[2] == THETA_ALONE


@pytest.mark.parametrize(
    ("term", "confined"),
    [
        ({"i2l": 1.0, "i2l_start": 0.0}, True),
        ({"seen": 1.0, "perceptual_start": 0.0}, True),
        ({"opening": 1.0, "perceptual_start": 0.0}, True),
        ({"perceptual": 1.0, "perceptual_start": 0.0}, False),
    ],
)
def test_what_compares_landmarks_changes_features_alone(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: dict[str, float], confined: bool
) -> None:
    monkeypatch.setattr(tl2f_lesson, "mark_features", lambda landmarks, *_: torch.zeros(len(landmarks), 1, 8, 8))
    assert learn_from(term, frames, tmp_path)[2] == (NOTHING if confined else THROUGH_THETA)


@pytest.mark.parametrize("name", ["identity", "likeness"])
def test_whose_face_it_is_changes_no_lips(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tl2f_lesson, "spare_lips", lambda landmarks, _: torch.zeros(len(landmarks), 1, 8, 8))
    assert learn_from({name: 1.0, "perceptual_start": 0.0}, frames, tmp_path)[2] == NOTHING


@pytest.mark.parametrize("term", ["l2i_gan", "feature_matching"])
@pytest.mark.parametrize("left", [0.0, 0.3])
def test_of_ds_pull_a_share_is_left_at_the_lips(
    frames: TargetFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float, term: str
) -> None:
    monkeypatch.setattr(tl2f_lesson, "spare_lips", lambda landmarks, _: torch.zeros(len(landmarks), 1, 8, 8))
    assert learn_from({term: 1.0, "gan_lips": left}, frames, tmp_path)[2] == (THROUGH_THETA if left else NOTHING)


def test_ds_pull_is_smooth_where_the_recipe_says_so(
    frames: TargetFrames, teachers: GuidanceNetworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough: list[float] = []
    confine = tl2f_lesson.confine

    def record(loss: torch.Tensor, pictures: torch.Tensor, *given: Any) -> torch.Tensor:
        confined = confine(loss, pictures, *given)
        (pull,) = torch.autograd.grad(confined, pictures, retain_graph=True)
        rough.append(float(pull.diff(dim=-1).abs().sum() / pull.abs().sum()))
        return confined

    monkeypatch.setattr(tl2f_lesson, "confine", record)
    for smooth in (True, False):
        config = change(**ONE_STEP | {"l2i_gan": 1.0, "gan_lips": 1.0, "gan_smooth": smooth})
        train(frames, tmp_path / str(smooth), config, teachers)
    assert rough[0] < 0.8 * rough[1]


@pytest.mark.parametrize("term", [{"i2l": 1.0, "i2l_start": 0.0}, {"l2i_gan": 1.0}])
def test_where_no_landmarks_are_converted_the_converter_hears_nothing(tmp_path: Path, term: dict[str, float]) -> None:
    assert learn_from(term, make_frames(foreign=0), tmp_path)[2] == THETA_ALONE
