"""What a release promises: one version wherever it is told, and the bundles of the releases before are served on."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_service import make_face, read_picture, serve

from service import __version__
from service.settings import Settings
from shared.bundle import SCHEMA_VERSION, load_bundle

ROOT = Path(__file__).parents[2]
RELEASES = sorted((ROOT / "tests/fixtures/releases").iterdir())
"""Of each release a models folder as it wrote it, its target `ada` with tiny networks."""


@pytest.mark.anyio
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
async def test_bundles_of_an_earlier_release_are_served_beside_todays(release: Path, tmp_path: Path) -> None:
    models = shutil.copytree(release, tmp_path / "models")
    today = load_bundle(shutil.copytree(ROOT / "models/franck", models / "franck")).manifest
    faces = {"ada": make_face().astype(float).tolist(), "franck": today.neutral}
    async with serve(Settings(models_dir=models, jobs_dir=tmp_path / "jobs", threads=1)) as client:
        for target, landmarks in faces.items():
            order = {"target": target, "landmarks": landmarks, "format": "png", "convert": False, "units": "crop"}
            answer = await client.post("/synthesize", json=order)
            assert answer.status_code == 200, answer.text
            picture = read_picture(answer.content)
            assert np.ptp(picture.mean(axis=0)) > 50  # neither is one colour


def test_one_version_is_told_everywhere() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - ", log, re.MULTILINE)
    assert released[0] == __version__
    assert [path.name for path in RELEASES] == sorted(released[1:])
    table = (ROOT / "docs/releases.md").read_text(encoding="utf-8")
    assert f"| {__version__} | {SCHEMA_VERSION} | {SCHEMA_VERSION} |" in table
    assert f"landmarkgan-{__version__}-" in table
    for path in (ROOT / "docker/k8s").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            for image in re.findall(r"'image': '([^']*landmarkgan[^']*)'", str(document)):
                assert image.endswith(f":{__version__}"), path
