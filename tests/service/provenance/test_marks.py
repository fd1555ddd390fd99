"""Everything that leaves the service says that it is synthetic; /provenance and the command read it."""

import base64
import importlib.util
import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from running_service import run_service, wait_until
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, serve, to_bytes, write_bundle

from service.errors import StartError
from service.media.images import encode_picture, read_packet
from service.provenance.__main__ import main
from service.provenance.credentials import CredentialSigner, read_credentials
from service.provenance.label import draw_label
from service.provenance.marker import Marker
from service.provenance.origin import SOURCE_TYPES, Origin
from service.provenance.watermark import code_target, read_watermark
from service.provenance.xmp import XMP_BOX, make_xmp, read_xmp
from service.settings import Settings
from shared.bundle import load_bundle
from tests.fixtures.painted import PaintedDetector, paint_people, write_video

pytestmark = pytest.mark.anyio

GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
ORDER = {"target": "ada", "landmarks": make_face().astype(float).tolist(), "size": 256}
PICTURE = {"image": ("face.png", to_bytes(draw_faces((60, 40, 120), size=(260, 240))), "image/png")}
ROOT = Path(__file__).parents[3]


async def inspect(client: httpx.AsyncClient, data: bytes) -> dict[str, object]:
    answer = await client.post("/provenance", files={"image": ("a", data)})
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
async def test_pictures_say_what_they_are(settings: Settings, format: str) -> None:
    bundle = load_bundle(settings.models_dir / "ada").sha256
    async with serve(settings, MarkedDetector()) as client:
        made = await client.post("/synthesize", json=ORDER | {"format": format})
        assert await inspect(client, made.content) == {
            "synthetic": True,
            "target": "ada",
            "watermark": {"kind": "generated", "corrected": 0},
            "metadata": {"source_type": GENERATED, "target": "ada", "bundle": bundle},
            "credentials": None,
        }
        form = {"target": "ada", "paste_back": "true", "format": format, "response": "json"}
        pasted = (await client.post("/reenact", files=PICTURE, data=form)).json()
        found = await inspect(client, base64.b64decode(pasted["picture"]["base64"]))
        assert (found["target"], found["watermark"]) == ("ada", {"kind": "composite", "corrected": 0})
        assert found["metadata"] == {"source_type": COMPOSITE, "target": "ada", "bundle": bundle}


async def test_pictures_that_are_not_ours(settings: Settings) -> None:
    async with serve(settings) as client:
        nothing = {"synthetic": False, "target": None, "watermark": None, "metadata": None, "credentials": None}
        assert await inspect(client, PICTURE["image"][1]) == nothing
        capture = SOURCE_TYPES + "digitalCapture"
        for packet, said in (
            (f"<a Iptc4xmpExt:DigitalSourceType='{capture}'/>".encode(), False),
            (f"<DigitalSourceType>\n{GENERATED}</DigitalSourceType>".encode(), True),
        ):
            found = await inspect(client, encode_picture(np.zeros((8, 8, 3), np.uint8), "jpeg", xmp=packet))
            assert (found["synthetic"], found["target"]) == (said, None)
            assert found["metadata"]
        refused = await client.post("/provenance", files={"image": ("a", b"text")})
        assert refused.status_code == 415


async def test_the_mark_of_a_target_that_is_not_served(settings: Settings) -> None:
    picture = Marker(settings).draw(np.full((128, 128, 3), 99, np.uint8), Origin("eve", "0" * 64), "none")
    async with serve(settings) as client:
        found = await inspect(client, encode_picture(picture, "png"))
        assert (found["synthetic"], found["target"]) == (True, None)


def test_a_label_is_seen_and_marked_over(settings: Settings) -> None:
    face = np.full((256, 256, 3), 120, np.uint8)
    labelled = Marker(settings).draw(face, Origin("ada", "0" * 64), "visible")
    assert labelled[200:, :128].max() > 230
    assert (labelled[:200] < 140).all()
    assert read_watermark(labelled) is not None
    for shape in ((16, 16, 3), (1024, 40, 3), (30, 2000, 3)):
        assert draw_label(np.zeros(shape, np.uint8)).shape == shape


async def test_a_label_is_an_option_of_every_picture(settings: Settings) -> None:
    async with serve(settings, MarkedDetector()) as client:
        plain, labelled = [
            read_picture((await client.post("/synthesize", json=ORDER | {"label": label, "format": "png"})).content)
            for label in ("none", "visible")
        ]
        assert np.abs(plain.astype(int) - labelled)[200:, :128].max() > 100
        assert np.abs(plain.astype(int) - labelled)[:200].max() < 40
        assert (await client.post("/synthesize", json=ORDER | {"label": "neon"})).status_code == 422


def test_videos_say_what_they_are(settings: Settings, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, [paint_people((1, 60, 40, 120), width=320, height=240)] * 4)
    own = settings.model_copy(update={"jobs_dir": tmp_path / "jobs"})
    with run_service(own, PaintedDetector()) as service, httpx.Client(base_url=f"http://{service.address}") as client:
        form = {"target": "ada", "layout": "side-by-side", "label": "visible"}
        job = client.post("/reenact/video", files={"video": clip.read_bytes()}, data=form).json()
        wait_until(lambda: client.get(f"/jobs/{job['id']}").json()["state"] not in ("waiting", "running"))
        answer = client.get(f"/jobs/{job['id']}/result")
    assert answer.status_code == 200
    metadata = read_xmp(answer.content[answer.content.index(XMP_BOX) :])
    assert metadata is not None
    assert (metadata.source_type, metadata.target) == (COMPOSITE, "ada")
    with av.open(BytesIO(answer.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 4
    found = [read_watermark(frame) for frame in frames]
    assert any(each is not None and each.target_code == code_target("ada") for each in found)


def test_the_command_reads_pictures_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(tmp_path / "models", "ada")
    settings = Settings(models_dir=tmp_path / "models")
    ours, other, text = tmp_path / "ours.jpg", tmp_path / "other.png", tmp_path / "text.jpg"
    face = np.full((128, 128, 3), 99, np.uint8)
    ours.write_bytes(Marker(settings).encode(face, Origin("ada", "0" * 64), "none", "jpeg", None))
    other.write_bytes(to_bytes(Image.fromarray(face)))
    text.write_text("text")
    command = [sys.executable, "-m", "service.provenance", "--json", str(ours)]
    environment = {"LANDMARKGAN_MODELS_DIR": str(tmp_path / "models"), "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["target"] == "ada"
    assert main([str(ours)]) == 0
    assert main([str(ours), str(other)]) == 1
    assert "no mark was found" in capsys.readouterr().out
    assert main([str(text), str(ours)]) == 2


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key, as `make c2pa-test-cert` makes them."""
    if importlib.util.find_spec("c2pa") is None:
        pytest.skip("needs the extra c2pa")
    folder = tmp_path_factory.mktemp("c2pa")
    subprocess.run([sys.executable, "-m", "service.provenance.trial_certificate", folder], cwd=ROOT, check=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
async def test_credentials_are_signed_last_and_valid(settings: Settings, pair: tuple[Path, Path], format: str) -> None:
    own = settings.model_copy(update={"c2pa_cert": pair[0], "c2pa_key": pair[1]})
    async with serve(own) as client:
        made = (await client.post("/synthesize", json=ORDER | {"format": format})).content
        found = await inspect(client, made)
    assert found["credentials"] == {
        "state": "Valid",
        "signer": "LandmarkGAN test",
        "generator": "LandmarkGAN",
        "source_type": GENERATED,
        "target": "ada",
        "bundle": load_bundle(settings.models_dir / "ada").sha256,
    }
    assert found["watermark"] == {"kind": "generated", "corrected": 0}
    damaged = bytearray(made)
    damaged[-40] ^= 1
    changed = read_credentials(bytes(damaged), f"image/{format}")
    assert changed is None or changed.state == "Invalid"


def test_videos_are_signed(settings: Settings, pair: tuple[Path, Path], tmp_path: Path) -> None:
    own = settings.model_copy(update={"c2pa_cert": pair[0], "c2pa_key": pair[1]})
    clip = tmp_path / "clip.mp4"
    write_video(clip, [np.full((64, 64, 3), 99, np.uint8)] * 3)
    Marker(own).seal(clip, Origin("ada", "0" * 64, "composite"))
    found = read_credentials(clip.read_bytes(), "video/mp4")
    assert found is not None
    assert (found.state, found.source_type) == ("Valid", COMPOSITE)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


async def test_no_picture_leaves_where_it_can_not_be_signed(
    settings: Settings, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings.model_copy(update={"c2pa_cert": pair[0], "c2pa_key": pair[1]})
    async with serve(own) as client:
        monkeypatch.setattr("c2pa.Builder.sign", _fail)
        answer = await client.post("/synthesize", json=ORDER)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:landmarkgan:problem:marking")


def _fail(*arguments: object) -> None:
    import c2pa

    raise c2pa.C2paError("the key is gone")


def test_a_certificate_that_can_not_sign_fails_the_start(
    settings: Settings, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no key")
    for certificate, key in ((pair[0], None), (pair[0], broken), (broken, pair[1]), (tmp_path / "none", pair[1])):
        with pytest.raises(StartError, match="C2PA"):
            Marker(settings.model_copy(update={"c2pa_cert": certificate, "c2pa_key": key}))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(StartError, match="extra `c2pa`"):
        CredentialSigner(*pair, "es256")
    assert read_credentials(b"", "image/jpeg") is None


def test_metadata_survives_its_way() -> None:
    packet = make_xmp(Origin("ada", "ab" * 32))
    for format in ("jpeg", "png", "webp"):
        assert read_packet(encode_picture(np.zeros((8, 8, 3), np.uint8), format, xmp=packet)) == packet
    assert read_packet(b"text") == b""
    assert read_xmp(b"<x/>") is None
