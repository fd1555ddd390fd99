"""Ablations: that each row can be trained and is another recipe, what is measured once, and what is refused."""

import json
from pathlib import Path

import pytest
from torch import nn

from tests.fixtures.acted import film_points, write_dataset
from trainer.config import TrainingConfig, change_config
from trainer.errors import ConfigError
from trainer.evaluation import study as module
from trainer.evaluation.study import (
    FIGURES,
    KEPT,
    PAPER_SECONDS,
    ROWS,
    StudyFolders,
    format_rows,
    measure_converter,
    study,
)

CONFIG = TrainingConfig()


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainingConfig, float | None]]:
    """Each row's recipe and seconds; the trainings and the measuring are stood in for."""
    rows: list[tuple[TrainingConfig, float | None]] = []

    def learn(
        target: str, config: TrainingConfig, data: Path, folder: Path, models: Path, seconds: float | None
    ) -> tuple[nn.Module, int, float]:
        rows.append((config, seconds))
        return nn.Identity(), 7, 60.0 * len(rows)

    monkeypatch.setattr(module, "learn_target", learn)
    monkeypatch.setattr(module, "measure_network", lambda *given: dict.fromkeys(FIGURES, 0.5))
    return rows


def list_folders(tmp_path: Path) -> StudyFolders:
    write_dataset(tmp_path / "data", "ada", film_points(24), size=16)
    return StudyFolders(tmp_path / "data", tmp_path / "models", tmp_path / "runs", tmp_path / "out")


def test_each_row_is_another_recipe() -> None:
    recipes = [change_config(CONFIG, changes).model_dump_json() for name, changes in ROWS.items() if changes]
    assert len({*recipes, CONFIG.model_dump_json()}) == len(recipes) + 1
    assert [name for name, changes in ROWS.items() if not changes] == ["default", PAPER_SECONDS]


def test_what_was_measured_is_kept_and_the_paper_has_the_defaults_time(
    tmp_path: Path, trained: list[tuple[TrainingConfig, float | None]]
) -> None:
    folders = list_folders(tmp_path)
    study("ada", CONFIG, ["default"], 2, folders)
    study("ada", CONFIG, ["default", PAPER_SECONDS], 2, folders)
    assert [(config.preset, seconds) for config, seconds in trained] == [("default", None), ("paper", 60.0)]
    measured = json.loads((folders.out / "ada.json").read_text())
    assert list(measured) == ["default", PAPER_SECONDS]
    assert (measured["default"]["steps"], measured["default"]["seconds"]) == (7, 60.0)
    assert (folders.out / "README.md").read_text() == format_rows("ada", measured)


def test_a_row_that_there_is_not_and_a_paper_without_its_time_are_refused(
    tmp_path: Path, trained: list[tuple[TrainingConfig, float | None]]
) -> None:
    with pytest.raises(ConfigError, match="no row nothing in the study; there are: default"):
        study("ada", CONFIG, ["nothing"], 1, list_folders(tmp_path))
    with pytest.raises(ConfigError, match="measure the row default first"):
        study("ada", CONFIG, [PAPER_SECONDS], 1, list_folders(tmp_path))
    assert trained == []


def test_the_table_has_a_line_for_each_row() -> None:
    row = {"psnr": 26.5, "psnr_box": 28.123, "ssim_box": 0.9, "sharpness": 1.0, "landmark_error": 2.5}
    table = format_rows("ada", {"default": row | {"steps": 1200, "seconds": 930.0}})
    assert table.splitlines()[-1] == "| default | 26.50 | 28.12 | 0.900 | 1.00 | 2.50 | 1200 | 15.5 |"
    with_converter = format_rows("ada", {"converter": dict.fromkeys(KEPT, 0.987)})
    assert with_converter.splitlines()[-1] == "| converter |" + " 0.99 |" * len(KEPT)


def test_a_converter_that_changes_nothing_keeps_every_order(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        write_dataset(tmp_path, name, film_points(24), size=16)
    kept = measure_converter(nn.Identity(), "ada", tmp_path)
    moving = {name: value for name, value in kept.items() if value != 0}
    assert list(kept) == list(KEPT)
    assert moving
    assert set(moving.values()) == {1.0}
