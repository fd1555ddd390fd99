"""The Python client: the same pictures in this process and over HTTP, of the committed bundles."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_service import Running, run_service

from service import connect, load
from service.client import LocalFace, RequestError, TargetFace
from service.errors import FaceIndexError, OptionError
from service.provenance.inspection import inspect_picture
from service.settings import Settings
from shared.errors import BundleError, LandmarksError

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
CAP = MODELS / "cap" / "reference.jpg"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(models_dir=MODELS, threads=1, max_batch=1, jobs_dir=tmp_path_factory.mktemp("jobs"))
    with run_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def here() -> LocalFace:
    return load(MODELS / "franck", threads=1)


@pytest.fixture(scope="module", params=["here", "over HTTP"])
def face(request: pytest.FixtureRequest, service: Running, here: LocalFace) -> TargetFace:
    return here if request.param == "here" else connect("franck", f"http://{service.address}")


def test_both_make_the_same_pictures(service: Running, here: LocalFace) -> None:
    there: TargetFace = connect("franck", f"http://{service.address}/")
    (landmarks,) = here.find_landmarks(CAP)
    np.testing.assert_allclose(there.find_landmarks(CAP)[0], landmarks, atol=1e-4)
    smile = here.target.manifest.presets["smile"]
    for made, served in (
        (here.synthesize(landmarks), there.synthesize(landmarks)),
        (here.synthesize(landmarks, neutral=landmarks), there.synthesize(landmarks, neutral=[landmarks, landmarks])),
        (here.synthesize(smile, convert=False, units="crop"), there.synthesize(smile, convert=False, units="crop")),
        (here.reenact(CAP), there.reenact(CAP)),
        (here.reenact(CAP, paste_back=True), there.reenact(CAP, paste_back=True)),
    ):
        assert np.abs(np.asarray(made).astype(int) - np.asarray(served)).max() <= 1
        assert made.info["xmp"] == served.info["xmp"]


def test_pictures_come_in_any_form(face: TargetFace) -> None:
    with Image.open(CAP) as file:
        image = file.convert("RGB")
    first = np.asarray(face.reenact(CAP))
    for same in (str(CAP), CAP.read_bytes(), image, np.asarray(image)):
        assert np.abs(np.asarray(face.reenact(same)).astype(int) - first).max() <= 2


@pytest.mark.parametrize("paste_back", [False, True])
def test_pictures_say_what_they_are(face: TargetFace, tmp_path: Path, paste_back: bool) -> None:
    picture = face.reenact(CAP, paste_back=paste_back)
    picture.save(tmp_path / "face.jpg", xmp=picture.info["xmp"])
    found = inspect_picture((tmp_path / "face.jpg").read_bytes(), 1_000_000)
    assert found.watermark is not None
    assert found.metadata is not None
    assert (found.watermark.kind, found.metadata.target) == ("composite" if paste_back else "generated", "franck")


def test_errors_are_the_services_own_words(service: Running, here: LocalFace) -> None:
    there = connect("franck", f"http://{service.address}")
    with pytest.raises(FaceIndexError, match="there is no face 1"):
        here.reenact(CAP, face=1)
    with pytest.raises(RequestError, match="there is no face 1") as caught:
        there.reenact(CAP, face=1)
    assert caught.value.status == 422
    for each in (here, there):
        with pytest.raises(LandmarksError, match="pairs of numbers"):
            each.synthesize([[1, 2], [3]])
    with pytest.raises(OptionError, match="switched off"):
        here.synthesize(here.target.manifest.neutral, convert=False, neutral=here.target.manifest.neutral)
    with pytest.raises(RequestError, match="no target of this name"):
        connect("nobody", f"http://{service.address}").reenact(CAP)
    with pytest.raises(RequestError, match="make serve"):
        connect("franck", "http://127.0.0.1:1").reenact(CAP)
    with pytest.raises(BundleError):
        load(MODELS / "nobody")


def test_a_key_is_sent(tmp_path: Path) -> None:
    key = "0123456789abcdef"
    with run_service(Settings(models_dir=MODELS, threads=1, jobs_dir=tmp_path, api_keys=(key,))) as running:
        address = f"http://{running.address}"
        assert connect("franck", address, key=key).find_landmarks(CAP)
        with pytest.raises(RequestError, match="no key") as caught:
            connect("franck", address).find_landmarks(CAP)
        assert caught.value.status == 401


def test_the_documents_code_works_as_pasted(service: Running, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    code = "\n".join(blocks).replace("127.0.0.1:8000", service.address).replace("runs/", f"{tmp_path}/")
    code += "\nimport sys; assert 'torch' not in sys.modules and 'trainer' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "face.jpg") as picture:
        assert picture.size == (256, 256)


def test_importing_the_package_loads_no_runtime() -> None:
    code = "import service, sys; assert not {'numpy', 'onnxruntime', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
