"""The model repository: read by Triton's own message of a configuration, and led through ONNX Runtime as it says."""

import ast
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import descriptor_pool, message_factory, text_format
from numpy.typing import NDArray

from service.triton_repository import main
from shared.animation import Animator, DrivingFace
from shared.bundle import load_bundle
from shared.pixels import from_network

FRANCK = Path(__file__).parents[2] / "models/franck"


@pytest.fixture(scope="module")
def model_config() -> Any:
    """Triton's `inference.ModelConfig`: its client ships it compiled, for another protobuf than runs here."""
    client = find_spec("tritonclient")
    assert client is not None
    assert client.origin is not None
    tree = ast.parse((Path(client.origin).parent / "grpc/model_config_pb2.py").read_text())
    files = [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AddSerializedFile")
    ]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(*files)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton")
    assert main([str(FRANCK), str(folder)]) == 0
    return folder


def read_config(folder: Path, model_config: Any) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config())


def run_model(folder: Path, config: Any, feed: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """As Triton would: one ONNX file with the tensors that its configuration names."""
    session = ort.InferenceSession(folder / "1/model.onnx", providers=["CPUExecutionProvider"])
    for tensors, known in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(each.name, list(each.dims)) for each in tensors] == [(each.name, each.shape[1:]) for each in known]
    names = [each.name for each in config.output]
    return dict(zip(names, session.run(names, feed), strict=True))


def run_one(folder: Path, config: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model's one output for its one input."""
    return run_model(folder, config, {config.input[0].name: batch})[config.output[0].name]


def test_every_configuration_is_one_of_triton(repository: Path, model_config: Any) -> None:
    folders = sorted(repository.iterdir())
    assert [folder.name for folder in folders] == ["franck", "franck_converter", "franck_generator"]
    for folder in folders:
        config = read_config(folder, model_config)
        assert config.name == folder.name
        assert (config.platform == "ensemble") == (folder.name == "franck")
        assert (folder / "1").is_dir()
    with pytest.raises(text_format.ParseError):
        text_format.Parse('name: "x" colour: "red"', model_config())


def test_the_ensemble_draws_what_the_service_draws(repository: Path, model_config: Any) -> None:
    """On the target's own level face, of which the service's leveling changes nothing."""
    manifest = load_bundle(FRANCK).manifest
    points = np.array([manifest.neutral, manifest.neutral], np.float32)
    ensemble = read_config(repository / "franck", model_config)
    tensors = {ensemble.input[0].name: points}
    networks: list[Any] = []
    for step in ensemble.ensemble_scheduling.step:
        folder = repository / step.model_name
        config = read_config(folder, model_config)
        assert config.max_batch_size == ensemble.max_batch_size >= len(points)
        feed = {name: tensors[source] for name, source in step.input_map.items()}
        made = run_model(folder, config, feed)
        tensors |= {step.output_map[name]: value for name, value in made.items()}
        networks.append(partial(run_one, folder, config))
    animator = Animator(manifest, *networks)
    drawn = animator.animate([DrivingFace(face, convert=True) for face in points])
    np.testing.assert_array_equal(from_network(tensors[ensemble.output[0].name]), [face.picture for face in drawn])


def test_two_bundles_are_not_mixed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FRANCK), str(repository)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_no_bundle_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "no bundle.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
