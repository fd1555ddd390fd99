"""Fixtures of the service's tests."""

from pathlib import Path

import pytest
from tiny_service import SHIFT, make_converter, write_bundle

from service.settings import Settings


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two targets that serve, with converters that differ."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder, "ada")
    write_bundle(folder, "bob", converter=make_converter(-SHIFT))
    return folder


@pytest.fixture
def settings(models: Path) -> Settings:
    """Settings for a small application."""
    return Settings(models_dir=models, threads=1, max_upload_bytes=100_000, max_pixels=250_000)
