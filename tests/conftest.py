"""Loaded before any test module, so that none imports onnxruntime with its telemetry on."""

import pytest

import shared  # noqa: F401 - imported for what it sets: telemetry is off before any test imports onnxruntime


@pytest.fixture(autouse=True)
def own_jobs_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A jobs folder is one service's alone: a test's is not that of a service that runs in this checkout."""
    monkeypatch.setenv("LANDMARKGAN_JOBS_DIR", str(tmp_path_factory.mktemp("jobs") / "jobs"))
