"""The reference pictures of the committed bundles: real faces that are always there."""

from pathlib import Path

import pytest
from PIL import Image

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module", params=["franck", "cap"])
def photo(request: pytest.FixtureRequest) -> Image.Image:
    with Image.open(MODELS / str(request.param) / "reference.jpg") as picture:
        return picture.convert("RGB")
