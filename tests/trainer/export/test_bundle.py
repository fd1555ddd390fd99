"""The export: files that answer as the networks do, in half the bytes, or no bundle at all."""

import logging
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from shared.bundle import BundleManifest, OnnxFile, RunRecord, hash_file, read_bundle
from shared.neutral import find_calm, find_neutral
from tests.fixtures.acted import film_points, film_units, write_dataset
from tests.trainer.tiny_training import TEXTURES, make_frames
from trainer.config import TrainingConfig
from trainer.data.dataset import FrameDataset
from trainer.errors import ExportError
from trainer.export import bundle as export
from trainer.export.bundle import (
    compare_outputs,
    export_bundle,
    quiet_exporter,
    round_weights,
    run_session,
    store_float16,
)
from trainer.export.presets import choose_presets
from trainer.networks.converter import Converter, ConverterConfig, Decoder, Encoder
from trainer.networks.generator import Generator
from trainer.sampling.textures import make_generator

RUN = RunRecord(seed=0, steps=5, planned=7, seconds=1.5)


def make_networks() -> tuple[Converter, Generator]:
    """Networks as training might leave them: statistics fitted, last layers no longer zero."""
    torch.manual_seed(0)
    converter = Converter(Encoder(ConverterConfig(hidden=32)), Decoder(ConverterConfig(hidden=32)))
    for layer in (converter.encoder.layers[-1], converter.decoder.layers[-1]):
        torch.nn.init.normal_(layer.weight, std=0.05)
    theta = make_generator(TEXTURES, make_frames(4))
    for parameter in theta.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return converter.eval(), theta.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FrameDataset, Converter, Generator]:
    """A bundle, the dataset and the networks it came from."""
    folder = tmp_path_factory.mktemp("exported")
    dataset = FrameDataset(write_dataset(folder / "data", "ada", film_points(24)))
    converter, theta = make_networks()
    return export_bundle(dataset, converter, theta, TrainingConfig(), folder / "models", RUN), dataset, converter, theta


Exported = tuple[Path, FrameDataset, Converter, Generator]


def test_the_bundle_is_whole_and_says_where_it_comes_from(exported: Exported) -> None:
    folder, dataset, _, _ = exported
    manifest = read_bundle(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.json",
        "converter.onnx",
        "reference.jpg",
        "tl2f.onnx",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["ada"]  # no trace of the putting together
    assert (manifest.target, manifest.display_name, manifest.image_size) == ("ada", "Ada", 256)
    assert manifest.crop == dataset.manifest.crop
    assert TrainingConfig.model_validate(manifest.config) == TrainingConfig()
    assert manifest.data.frames == {"train": 16, "validation": 4, "test": 4, "gap": 0}
    assert manifest.data.licence == "Apache-2.0"
    assert manifest.versions["torch"] == version("torch")
    assert manifest.run == RUN
    assert manifest.metrics == {}


def test_the_targets_shape_and_presets_are_those_of_the_training_frames(exported: Exported) -> None:
    folder, dataset, _, _ = exported
    manifest, frames = read_bundle(folder), dataset.landmarks("train")
    np.testing.assert_array_equal(np.array(manifest.shape, np.float32), find_neutral(frames, dataset.scheme))
    chosen = choose_presets(frames, dataset.scheme)
    assert manifest.presets.keys() == chosen.keys() > {"neutral"}
    for name, index in chosen.items():
        np.testing.assert_array_equal(np.array(manifest.presets[name], np.float32), frames[index])


def test_the_reference_is_the_calm_frame(exported: Exported) -> None:
    folder, dataset, _, _ = exported
    calm = find_calm(dataset.landmarks("train"), dataset.scheme)
    manifest = read_bundle(folder)
    np.testing.assert_array_equal(np.array(manifest.neutral, np.float32), dataset.landmarks("train")[calm])
    with Image.open(folder / manifest.reference.file) as picture:
        assert np.abs(np.asarray(picture).astype(int) - dataset.crops("train")[calm]).mean() < 4


@pytest.mark.parametrize("batch", [1, 5])
def test_the_files_answer_as_the_networks_do(exported: Exported, batch: int) -> None:
    folder, _, converter, theta = exported
    manifest = read_bundle(folder)
    landmarks = torch.from_numpy(film_units(batch, phase=4))  # not those it was compared on
    for network, spec in ((converter, manifest.converter), (theta, manifest.tl2f)):
        session = ort.InferenceSession(folder / spec.file, providers=["CPUExecutionProvider"])
        (output,) = session.run([spec.output.name], {spec.input.name: landmarks.numpy()})
        with torch.no_grad():
            expected = network(landmarks).numpy()
        assert output.shape == expected.shape == (batch, *spec.output.shape[1:])
        assert np.abs(output - expected).max() < 1e-3
        assert expected.std() > 0.01  # an answer that says something


def test_the_files_say_nothing_of_the_machine_that_trained(exported: Exported) -> None:
    folder, _, _, _ = exported
    for path in folder.glob("*.onnx"):
        assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()


def test_large_weights_are_stored_in_half_the_bytes(exported: Exported) -> None:
    folder, _, converter, theta = exported
    for network, name in ((converter, "converter.onnx"), (theta, "tl2f.onnx")):
        model = onnx.load(folder / name)
        halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
        matrices = [each for each in network.parameters() if each.numel() >= 1024]
        stored = sum(np.prod(each.dims) for each in model.graph.initializer if each.name in halves)
        assert stored >= sum(each.numel() for each in matrices) > 0
        large = [each for each in model.graph.initializer if np.prod(each.dims) >= 1024 and each.name not in halves]
        assert sum(np.prod(each.dims) for each in large) < 0.2 * stored  # the deformation's places need every digit
        casts = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}
        assert halves <= casts  # the arithmetic itself is in float32


def test_weights_are_rounded_to_what_is_stored_and_the_networks_are_left_as_they_are(exported: Exported) -> None:
    _, _, converter, theta = exported
    for network in (converter, theta):
        assert any(not torch.equal(each, each.half().float()) for each in network.parameters())
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, 1 + 2**-12)
    round_weights(layer)
    assert layer.weight.item() == 1.0


def test_weights_that_float16_does_not_hold_stay_as_they_are() -> None:
    values = {
        "exact": np.full(1024, 0.5, np.float32),
        "fine": np.full(1024, 1 + 2**-12, np.float32),
        "small": np.full(1023, 0.5, np.float32),
        "whole": np.arange(1024, dtype=np.int64),
    }
    model = helper.make_model(
        helper.make_graph([], "weights", [], [], [numpy_helper.from_array(each, name) for name, each in values.items()])
    )
    store_float16(model)
    kept = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert sorted(kept) == ["exact.float16", "fine", "small", "whole"]
    for name in ("fine", "small", "whole"):
        np.testing.assert_array_equal(kept[name], values[name])
    np.testing.assert_array_equal(kept["exact.float16"], values["exact"])
    (cast,) = model.graph.node
    assert (cast.op_type, cast.input[0], cast.output[0]) == ("Cast", "exact.float16", "exact")


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_that_differs_is_no_bundle_and_the_old_one_stays(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dataset, converter, theta = exported
    shutil.copytree(folder, tmp_path / "ada")
    before = read_all(tmp_path / "ada")

    def answer_a_little_off(session: ort.InferenceSession, name: str, batch: np.ndarray) -> np.ndarray:
        return run_session(session, name, batch) + np.float32(0.0015)

    monkeypatch.setattr(export, "run_session", answer_a_little_off)
    with pytest.raises(ExportError, match=r"converter\.onnx differs from its network by 0\.0015"):
        export_bundle(dataset, converter, theta, TrainingConfig(seed=9), tmp_path, RUN)
    assert read_all(tmp_path / "ada") == before
    read_bundle(tmp_path / "ada")


def test_another_networks_file_is_found_out(exported: Exported) -> None:
    folder, _, converter, _ = exported
    landmarks = torch.from_numpy(film_units(20))
    compare_outputs(converter, folder / "converter.onnx", landmarks, "landmarks")
    other, _ = make_networks()
    round_weights(other)
    with torch.no_grad():
        other.decoder.layers[-1].bias += 0.02  # 0.002 crop units
    with pytest.raises(ExportError, match="Nothing was replaced"):
        compare_outputs(other, folder / "converter.onnx", landmarks, "landmarks")
    with torch.no_grad():
        other.decoder.layers[-1].bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="differs"):
        compare_outputs(other, folder / "converter.onnx", landmarks, "landmarks")


def test_a_new_bundle_takes_the_old_ones_place(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, dataset, converter, theta = exported
    shutil.copytree(folder, tmp_path / "ada")
    (tmp_path / "ada" / "stale.onnx").write_bytes(b"of an older version")
    (tmp_path / ".ada.part").mkdir()
    (tmp_path / ".ada.part" / "half.onnx").write_bytes(b"of a killed export")
    manifest = read_bundle(folder)

    def copy_network(network: object, landmarks: object, path: Path, *specs: object) -> OnnxFile:
        shutil.copy(folder / path.name, path)
        found = {manifest.converter.file: manifest.converter, manifest.tl2f.file: manifest.tl2f}[path.name]
        assert found.sha256 == hash_file(path)
        return found

    monkeypatch.setattr(export, "export_network", copy_network)
    export_bundle(dataset, converter, theta, TrainingConfig(seed=9), tmp_path, RUN)
    renewed: BundleManifest = read_bundle(tmp_path / "ada")
    assert renewed.config["seed"] == 9
    assert [path.name for path in tmp_path.iterdir()] == ["ada"]
    assert sorted(read_all(tmp_path / "ada")) == sorted(read_all(folder))


def test_the_exporters_own_notes_stay_from_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    with quiet_exporter():
        logger.warning("torchvision is not installed. Skipping %s", "torchvision::nms")
        logger.warning("something else")
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use it no more", FutureWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="news"):
            warnings.warn("news", stacklevel=1)
    logger.warning("torchvision is not installed, said by someone else")
    assert [record.getMessage() for record in caplog.records] == [
        "something else",
        "torchvision is not installed, said by someone else",
    ]


def test_a_network_is_exported_without_a_word(tmp_path: Path) -> None:
    script = (
        "import sys, torch; from pathlib import Path; from shared.bundle import TensorSpec;"
        "from trainer.export.bundle import export_network;"
        "specs = [TensorSpec(name=name, shape=(None, 4), low=-1, high=1) for name in ('given', 'made')];"
        "export_network(torch.nn.Linear(4, 4), torch.rand(1, 4), Path(sys.argv[1]), *specs)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.onnx")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    batch = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"]).get_inputs()[0].shape[0]
    assert isinstance(batch, str)  # of any size, though it was shown a single one
