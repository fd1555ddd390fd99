"""Fixtures of the tests of media."""

import pytest

from tests.fixtures.painted import film, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve frames of a painted person."""
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", film(1, 12)).read_bytes()
