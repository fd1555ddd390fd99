"""The bundle's manifest: written whole, read with every file verified, refused with a reason."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.bundle import (
    BundleManifest,
    FileRef,
    Measured,
    OnnxFile,
    TensorSpec,
    TrainingData,
    hash_file,
    read_bundle,
    write_manifest,
)
from shared.errors import BundleError
from shared.geometry import CropRule

FACE = tuple((0.5 + 0.003 * index, 0.25 + 0.0001 * index**2) for index in range(68))


def write_bundle(folder: Path) -> BundleManifest:
    """A bundle whose networks are a few bytes: reading it opens no network."""
    folder.mkdir()
    for name in ("converter.onnx", "tl2f.onnx", "reference.jpg"):
        (folder / name).write_bytes(name.encode())
    points = TensorSpec(name="landmarks", shape=(None, 68, 2), low=-1, high=2)
    picture = TensorSpec(name="face", shape=(None, 3, 32, 32), low=0, high=1)

    def refer(name: str, output: TensorSpec) -> OnnxFile:
        return OnnxFile(file=name, sha256=hash_file(folder / name), input=points, output=output)

    manifest = BundleManifest(
        target=folder.name,
        display_name="Ada",
        scheme="ibug68",
        crop=CropRule(centre_points=(0, 1), scale_points=(2, 3), factor=4.0, drop=0.1),
        image_size=32,
        converter=refer("converter.onnx", points),
        tl2f=refer("tl2f.onnx", picture),
        reference=FileRef(file="reference.jpg", sha256=hash_file(folder / "reference.jpg")),
        neutral=FACE,
        shape=FACE,
        presets={"smile": FACE},
        detector="mesh",
        data=TrainingData(description="clip", licence="Apache-2.0", consent=None, frames={"train": 3}),
        metrics={"psnr": Measured(value=25.5, split="test", frames=7)},
        versions={"torch": "2"},
        config={"seed": 0, "tl2f": {"betas": [0.5, 0.99]}},
    )
    write_manifest(manifest, folder)
    return manifest


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole bundle."""
    write_bundle(tmp_path / "ada")
    return tmp_path / "ada"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "ada")
    assert read_bundle(tmp_path / "ada") == manifest
    assert not list((tmp_path / "ada").glob(".*"))


def test_hash_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"abc")
    assert hash_file(tmp_path / "some") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("name", ["converter.onnx", "tl2f.onnx", "reference.jpg"])
def test_every_file_is_verified(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] + b"?")
    with pytest.raises(BundleError, match=f"ada: {name} is damaged"):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        read_bundle(folder)


def test_no_manifest_and_no_json(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BundleError, match="not valid"):
        read_bundle(folder)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="can't be read"):
        read_bundle(folder)
    path.unlink()
    with pytest.raises(BundleError, match=r"no bundle\.json; export"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 3, "whatever": 1}, "newer than this service's 2; upgrade"),
        ({"schema_version": 1}, "version 1 is older than this service's 2; export the target again"),
        ({"schema_version": 0}, "version 0 is older"),
        ({"schema_version": None}, "not valid at schema_version"),
        ({"unknown": 1}, "not valid at unknown"),
        ({"target": "bob"}, "manifest is that of 'bob'"),
        ({"target": "../ada"}, "not valid at target"),
        ({"scheme": "iris70"}, "unknown landmark scheme 'iris70'"),
        ({"neutral": [[0, 0]] * 67}, "neutral: .* 67 were given"),
        ({"shape": [[0, 0]] * 69}, "shape: .* 69 were given"),
        ({"neutral": [[0, 0]] * 68}, "neutral: .* one spot"),
        ({"shape": [[0.5, 0.5]] * 68}, "shape: .* one spot"),
        ({"crop": {"centre_points": [0, 68], "scale_points": [2, 3], "factor": 4, "drop": 0}}, "the crop rule names"),
        ({"shape": [[0, float("nan")]] * 68}, "not valid at shape.0.1"),
        ({"presets": {"neutral": FACE, "smile": []}}, "preset smile: "),
        ({"presets": {"../smile": [[0, 0]] * 68}}, r"not valid at presets\.\.\./smile"),
        ({"image_size": 64}, "tl2f output has the shape"),
        ({"reference": {"file": "../../etc/passwd", "sha256": "0" * 64}}, "not valid at reference.file"),
        ({"reference": {"file": "reference.jpg", "sha256": "0"}}, "not valid at reference.sha256"),
        ({"metrics": {"psnr": {"value": 30, "split": "train", "frames": 1}}}, "not valid at metrics.psnr.split"),
    ],
)
def test_a_manifest_that_can_not_be_served_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    edit(folder, **changes)
    with pytest.raises(BundleError, match=said):
        read_bundle(folder)


def test_tensors_must_fit_the_scheme(folder: Path) -> None:
    converter = json.loads((folder / "bundle.json").read_text())["converter"]
    converter["output"]["shape"] = [1, 68, 2]  # a batch of one only
    edit(folder, converter=converter)
    with pytest.raises(BundleError, match="converter output has the shape"):
        read_bundle(folder)


def test_a_write_that_is_cut_short_leaves_the_old_manifest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_bundle(folder)

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("shared.documents.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(manifest.model_copy(update={"display_name": "Eve"}), folder)
    assert read_bundle(folder) == manifest


def test_manifest_is_frozen(folder: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_bundle(folder).target = "bob"
