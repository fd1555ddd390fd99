"""Bundles: served, or refused with a reason while the others serve on."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tiny_service import SHIFT, SIZE, make_converter, make_face, make_model, make_tl2f, write_bundle

from service.errors import DamagedTargetError, StartError, UnknownTargetError
from service.inference.bundles import BundleFolder, open_target
from service.inference.network import OnnxNetwork, load_cuda_libraries
from shared.animation import DrivingFace
from shared.bundle import hash_file, load_bundle


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Change a written manifest, by hand as a user might."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def load_reason(models: Path, target: str) -> str:
    """Why a target is refused; asserts that `good` serves on."""
    catalogue = BundleFolder(models, "cpu", 1).scan()
    assert "good" in catalogue.targets
    assert target not in catalogue.targets
    return catalogue.damaged[target]


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A models folder with one good bundle and one, `bad`, to be spoilt."""
    write_bundle(tmp_path, "good")
    write_bundle(tmp_path, "bad")
    return tmp_path


def test_whole_bundles_are_served(shelf: Path) -> None:
    catalogue = BundleFolder(shelf, "cpu", 1).scan()
    assert sorted(catalogue.targets) == ["bad", "good"]
    target = catalogue.find("good")
    assert target.tl2f.providers == ("CPUExecutionProvider",)
    assert target.reference_type == "image/png"
    made = target.animator.animate([DrivingFace(make_face(), convert=True)] * 3)
    assert [face.picture.shape for face in made] == [(SIZE, SIZE, 3)] * 3
    assert made[0].picture.dtype == np.uint8


def test_flipped_byte(shelf: Path) -> None:
    path = shelf / "bad" / "tl2f.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "SHA-256" in load_reason(shelf, "bad")


def test_missing_file(shelf: Path) -> None:
    (shelf / "bad" / "converter.onnx").unlink()
    assert "converter.onnx is missing" in load_reason(shelf, "bad")


def test_newer_schema(shelf: Path) -> None:
    edit_manifest(shelf / "bad", schema_version=3)
    assert "newer" in load_reason(shelf, "bad")


def test_older_schema(shelf: Path) -> None:
    edit_manifest(shelf / "bad", schema_version=1)
    assert "export the target again" in load_reason(shelf, "bad")


@pytest.mark.parametrize("text", ["", "[]", "{", "\ufffd", "null", '{"schema_version": 2}', "[" * 100_000])
def test_unreadable_manifest(shelf: Path, text: str) -> None:
    (shelf / "bad" / "bundle.json").write_text(text)
    assert "bundle.json" in load_reason(shelf, "bad")


def test_half_written_bundle(shelf: Path) -> None:
    (shelf / "bad" / "bundle.json").unlink()
    assert "no bundle.json" in load_reason(shelf, "bad")


def test_folders_that_are_no_targets(shelf: Path) -> None:
    shutil.copytree(shelf / "bad", shelf / "mesh")
    (shelf / "mesh" / "bundle.json").unlink()
    shutil.copytree(shelf / "bad", shelf / ".bad.part")
    (shelf / "notes").mkdir()
    (shelf / "README.md").write_text("models")
    catalogue = BundleFolder(shelf, "cpu", 1).scan()
    assert (sorted(catalogue.targets), catalogue.damaged) == (["bad", "good"], {})


def spoil_network(folder: Path, part: str, model: onnx.ModelProto | bytes) -> None:
    """Exchange a network for another, with its hash made right."""
    path = folder / f"{part}.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    entry = json.loads((folder / "bundle.json").read_text())[part] | {"sha256": hash_file(path)}
    edit_manifest(folder, **{part: entry})


def test_no_network_at_all(shelf: Path) -> None:
    spoil_network(shelf / "bad", "tl2f", b"not ONNX")
    assert "ONNX Runtime can't open it" in load_reason(shelf, "bad")


def test_tensor_of_another_name(shelf: Path) -> None:
    model = make_tl2f()
    model.graph.output[0].name = model.graph.node[-1].output[0] = "face"
    spoil_network(shelf / "bad", "tl2f", model)
    assert "output is 'face'" in load_reason(shelf, "bad")


def test_tensor_of_another_shape(shelf: Path) -> None:
    spoil_network(shelf / "bad", "converter", make_tl2f())
    assert "converter.onnx: output is 'image'" in load_reason(shelf, "bad")
    fixed = make_converter()
    for tensor in (fixed.graph.input[0], fixed.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    spoil_network(shelf / "bad", "converter", fixed)
    assert "the manifest says (None, 68, 2)" in load_reason(shelf, "bad")


def test_values_that_are_not_finite(shelf: Path) -> None:
    model = make_model(
        [helper.make_node("Log", ["landmarks"], ["log"]), helper.make_node("Sqrt", ["log"], ["converted"])],
        {},
        ("landmarks", ["batch", 68, 2]),
        ("converted", ["batch", 68, 2]),
    )
    spoil_network(shelf / "bad", "converter", model)
    assert "not finite" in load_reason(shelf, "bad")


def test_batches_that_do_not_run(shelf: Path) -> None:
    """The graph claims any batch size, and gives the first row alone."""
    model = make_model(
        [helper.make_node("Compress", ["landmarks", "first"], ["converted"], axis=0)],
        {"first": np.array([True])},
        ("landmarks", ["batch", 68, 2]),
        ("converted", ["some", 68, 2]),
    )
    spoil_network(shelf / "bad", "converter", model)
    assert "gives (1, 68, 2)" in load_reason(shelf, "bad")


def test_other_pixel_range(shelf: Path) -> None:
    entry = json.loads((shelf / "bad" / "bundle.json").read_text())["tl2f"]
    entry["output"]["low"] = -1.0
    edit_manifest(shelf / "bad", tl2f=entry)
    assert "(0.0, 1.0)" in load_reason(shelf, "bad")


def test_reference_that_is_no_picture(shelf: Path) -> None:
    path = shelf / "bad" / "reference.png"
    path.write_bytes(b"text")
    edit_manifest(shelf / "bad", reference={"file": path.name, "sha256": hash_file(path)})
    assert "read as a picture" in load_reason(shelf, "bad")


def test_targets_are_found_or_refused_by_name(shelf: Path) -> None:
    (shelf / "bad" / "tl2f.onnx").unlink()
    catalogue = BundleFolder(shelf, "cpu", 1).scan()
    with pytest.raises(DamagedTargetError, match=r"tl2f\.onnx"):
        catalogue.find("bad")
    with pytest.raises(UnknownTargetError) as caught:
        catalogue.find("../good")
    assert "good" in str(caught.value.expected)


def test_cuda_libraries_are_loaded_from_their_wheels_for_cuda_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: loaded.append("cuda"))
    BundleFolder(models, "cpu", 1).scan()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    BundleFolder(models, "cuda", 1).scan()
    assert loaded == []  # a CPU build has nothing to load
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    load_cuda_libraries()
    assert loaded == ["cuda"]


def test_gpu_required_and_missing(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(StartError, match="onnxruntime-gpu"):
        BundleFolder(shelf, "cuda", 1, require_gpu=True).scan()
    assert BundleFolder(shelf, "cuda", 1).scan().find("good").tl2f.providers == ("CPUExecutionProvider",)


def test_no_models_folder(tmp_path: Path) -> None:
    catalogue = BundleFolder(tmp_path / "nowhere", "cpu", 1).scan()
    assert (catalogue.targets, catalogue.damaged) == ({}, {})


def test_weights_outside_the_bundle_are_never_read(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would look for them in the working directory."""
    outside = shelf / "README.md"
    outside.write_bytes(np.full((68, 2), 0.25, np.float32).tobytes())
    monkeypatch.chdir(shelf)
    for place in ("README.md", str(outside), "../README.md", "bad/../README.md"):
        model = make_converter()
        model.graph.initializer.pop()
        outer = model.graph.initializer.add(
            name="shift", dims=[68, 2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
        )
        outer.external_data.add(key="location", value=place)
        spoil_network(shelf / "bad", "converter", model)
        assert "converter.onnx: ONNX Runtime can't open it" in load_reason(shelf, "bad")


def test_the_bytes_that_were_hashed_are_those_that_run(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(shelf / "good")
    shutil.copyfile(shelf / "good" / "tl2f.onnx", shelf / "good" / "converter.onnx")  # swapped behind the check's back
    points = make_face()[None]
    np.testing.assert_allclose(open_target(bundle, "cpu", 1).converter.run(points), points + SHIFT)


@pytest.mark.parametrize(("alone", "shared", "expected"), [(0.02, 0.002, 2), (0.004, 0.0038, 1), (0.002, 0.02, 1)])
def test_a_generator_takes_more_threads_where_they_pay(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, alone: float, shared: float, expected: int
) -> None:
    real = OnnxNetwork.run

    def run(network: OnnxNetwork, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(alone if network.threads == 1 else shared)
        return real(network, batch)

    monkeypatch.setattr(OnnxNetwork, "run", run)
    target = BundleFolder(shelf, "cpu", 2).scan().find("good")
    assert (target.tl2f.threads, target.converter.threads) == (expected, 1)
