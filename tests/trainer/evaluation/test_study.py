"""Studies: each variant is trained and measured once, and the curve is drawn from what was measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.detectors import load_detector
from shared.landmarks import Points
from shared.neutral import find_calm
from shared.pixels import Image8
from tests.fixtures.acted import film_points, stretch, write_dataset
from tests.fixtures.painted import FACE
from tests.trainer.tiny_training import CONVERTER, TL2F_TRAINING, WITHOUT_MESH
from trainer.config import TrainingConfig
from trainer.data.dataset import FrameDataset
from trainer.errors import DatasetError
from trainer.evaluation import study
from trainer.evaluation.face_analyzer import LocalFaceAnalyzer, Observation
from trainer.evaluation.study import (
    DEPARTURES,
    Bench,
    count_steps,
    open_bench,
    study_departures,
    study_designs,
    study_terms,
)
from trainer.evaluation.study_tables import Outcome, draw_curve, write_tables
from trainer.loops.target import prepare_run
from trainer.networks.tl2f import TL2F, UpscaleBlock

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Ada's generator, driven by bob."""
    write_dataset(tmp_path / "data", "ada", film_points(24))
    write_dataset(tmp_path / "data", "bob", film_points(24, stretch(FACE, "right_eye", 1.2, 1.2)), size=16)
    config = TrainingConfig(converter=CONVERTER, tl2f=WITHOUT_MESH.model_copy(update={"i2l": 0.0}))
    course = prepare_run("ada", config, "cpu", tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    eyes = Knowing(load_detector("mesh", MODELS), None)
    return Bench(course, FrameDataset(tmp_path / "data" / "bob"), eyes, np.zeros(128), every=2)


class Knowing(LocalFaceAnalyzer):
    """Tells a face by how bright its picture is."""

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        """See LocalFaceAnalyzer."""
        return replace(super().look(picture), descriptor=np.full(128, picture.mean() / 255))


def test_every_term_is_left_out_once(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "TERMS", {"all terms": {}, "without L2I": {"l2i": 0.0}})
    results = study_terms(bench, 2, tmp_path / "study", tmp_path / "runs")
    assert set(results) == {
        "all terms",
        "without L2I",
        *(f"converter, {name}" for name in ("all terms", "without L2L", "without X-L2L", "without transfer")),
    }
    assert results["all terms"].steps == 2
    assert results["all terms"].figures["psnr"] != results["without L2I"].figures["psnr"]
    assert 0 < results["all terms"].figures["driven_id"] < np.sqrt(128)
    assert results["converter, without L2L"].figures != results["converter, all terms"].figures
    assert {"rebuilt", "cycle", "mouth"} <= set(results["converter, all terms"].figures)

    def refuse(*given: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(study, "_train", refuse)
    monkeypatch.setattr(study, "_train_converter", refuse)
    assert study_terms(bench, 2, tmp_path / "study", tmp_path / "runs") == results


def test_designs_are_trained_for_the_same_time_and_drawn(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = TL2F_TRAINING.network
    monkeypatch.setattr(study, "DESIGNS", {"default": tiny})
    monkeypatch.setattr(study, "AUTHORS_TL2F", tiny)
    monkeypatch.setattr(study, "PILOTS", (1, 2))
    results = study_designs(bench, 0.001, tmp_path / "study", tmp_path / "runs")
    assert results["default"].steps >= 1
    assert results["default"].figures["milliseconds"] > 0
    assert "default" in (tmp_path / "study" / "designs.svg").read_text(encoding="utf-8")


def test_what_a_start_takes_is_not_counted_as_steps() -> None:
    assert count_steps(110, (5, 15), [20, 40]) == 50  # 10 s to start, 2 s a step
    assert count_steps(4, (5, 15), [20, 40]) == 1


def test_every_departure_is_taken_back(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = bench.course.config.tl2f
    for changes in DEPARTURES.values():
        assert type(base).model_validate(base.model_copy(update=dict(changes)).model_dump())
    monkeypatch.setattr(study, "DEPARTURES", {"the default recipe": {}, "not whitened": {"whiten": False}})
    results = study_departures(bench, 2, tmp_path / "study", tmp_path / "runs")
    assert results["the default recipe"].figures["psnr"] != results["not whitened"].figures["psnr"]
    page = (tmp_path / "study" / "README.md").read_text(encoding="utf-8")
    assert "## Departures" in page
    last = results["not whitened"]
    assert f"| not whitened | 2 | {last.seconds / 60:.1f} | {last.figures['psnr']:.3f} |" in page


def test_generators_may_begin_as_somebody_elses(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "DEPARTURES", {"the default recipe": {}})
    white = TL2F(bench.course.config.tl2f.network)
    assert isinstance(white.head, UpscaleBlock)
    torch.nn.init.constant_(white.head.conv.bias, 20.0)
    figures = [
        study_departures(replace(bench, weights=weights), 1, tmp_path / str(name), tmp_path / f"runs-{name}")
        for name, weights in enumerate((None, white.state_dict()))
    ]
    ordinary, begun = (each["the default recipe"].figures for each in figures)
    assert begun["gradient_energy_box"] < 1e-3 < ordinary["gradient_energy_box"]


def test_a_bench_may_have_a_bundle_to_begin_with(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        write_dataset(tmp_path / "data", name, film_points(24))
    folders = (tmp_path / "data", MODELS, tmp_path / "runs")
    bench = open_bench("ada", TrainingConfig(), *folders, Knowing(load_detector("mesh", MODELS), None), 1, "franck")
    begun, own = bench.weights, bench.course.dataset
    calm = own.crops("train")[find_calm(own.landmarks("train"), own.scheme)]
    np.testing.assert_allclose(bench.reference, calm.mean() / 255)
    assert begun is not None
    assert "fc.0.weight" in begun
    assert not set(begun) & set(TL2F.OF_LANDMARKS)


def test_the_page_has_every_study_and_dashes_where_nothing_was_measured(tmp_path: Path) -> None:
    for name, rows in {
        "designs": '"slim": {"steps": 9, "seconds": 60, "figures": {"psnr": 20}}',
        "converter_terms": '"all terms": {"steps": 9, "seconds": 6, "figures": {"mouth": 1}},'
        '"without L2L": {"steps": 9, "seconds": 6, "figures": {}}',
    }.items():
        (tmp_path / f"{name}.json").write_text(f"{{{rows}}}", encoding="utf-8")
    page = write_tables(tmp_path).read_text(encoding="utf-8")
    assert "| slim | 9 | 1.0 | 20.000 |" in page
    assert "| without L2L | 9 | 0.1 | – |" in page
    assert "(designs.svg)" in page
    assert "## Terms of the loss" not in page


def test_the_curve_has_every_design(tmp_path: Path) -> None:
    figures = {"psnr": 20.0, "ssim_box": 0.8, "milliseconds": 10.0}
    draw_curve({name: Outcome(steps=1, seconds=1, figures=figures) for name in ("slim", "wide")}, tmp_path / "c.svg")
    drawn = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert "slim" in drawn
    assert "wide" in drawn


def test_times_of_two_networks_are_of_one_run(tmp_path: Path) -> None:
    tiny = TL2F_TRAINING.network
    wide = tiny.model_copy(update={"block_channels": (64, 64, 64, 64, 64)})
    ours, theirs = study.time_networks(TL2F(tiny), TL2F(wide), tmp_path, runs=5)
    assert 0 < ours < theirs


def test_a_study_needs_somebody_to_drive(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", "ada", film_points(24))
    folders = (tmp_path / "data", MODELS, tmp_path / "runs")
    with pytest.raises(DatasetError, match="another prepared dataset"):
        open_bench("ada", TrainingConfig(), *folders, LocalFaceAnalyzer(load_detector("mesh", MODELS), None), every=1)
