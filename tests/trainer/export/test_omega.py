"""Omega as a file: it answers as the network does, and gives the very same weights back to the trainer."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from shared.bundle import Measured
from shared.detectors.manifest import read_manifest
from shared.errors import DetectorUnavailableError
from shared.landmarks import CONVERSIONS, IBUG68, IBUG70, WFLW98
from shared.pixels import to_network
from tests.fixtures.acted import film_points, write_dataset
from trainer.config import DetectorTraining
from trainer.data.dataset import FrameDataset
from trainer.errors import ExportError
from trainer.export import omega as module
from trainer.export.bundle import round_weights
from trainer.export.omega import ServedOmega, export_omega, load_guidance, load_omega
from trainer.networks.hourglass import Hourglass, HourglassConfig

CONFIG = DetectorTraining(network=HourglassConfig(channels=32, depth=2))
NME = {"ada": Measured(value=0.04, split="test", frames=4)}


def make_omega(seed: int) -> Hourglass:
    """A network as training might leave it: nothing that begins at zero is zero any more."""
    torch.manual_seed(seed)
    omega = Hourglass(CONFIG.network)
    for name, parameter in omega.named_parameters():
        if "widen" in name or "bias" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    round_weights(omega)
    return omega.eval()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    return FrameDataset(write_dataset(tmp_path_factory.mktemp("data"), "ada", film_points(24)))


@pytest.fixture(scope="module")
def folder(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_omega(make_omega(0), {"ada": dataset}, NME, CONFIG, tmp_path_factory.mktemp("models"))


def test_the_manifest_says_where_it_comes_from(folder: Path, dataset: FrameDataset) -> None:
    manifest = read_manifest(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["detector.json", "omega.onnx"]
    assert [path.name for path in folder.parent.iterdir()] == ["hourglass"]  # no trace of the putting together
    assert (manifest.name, manifest.scheme, manifest.size) == ("hourglass", "ibug68", 256)
    assert manifest.crop == dataset.manifest.crop
    assert manifest.nme == NME
    assert manifest.data["ada"].frames == {"train": 16, "validation": 4, "test": 4, "gap": 0}
    assert manifest.data["ada"].licence == "Apache-2.0"
    assert DetectorTraining.model_validate(manifest.config) == CONFIG
    assert (manifest.picture.low, manifest.picture.high) == (0, 1)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_file_answers_as_the_network_does(folder: Path, dataset: FrameDataset, batch: int) -> None:
    served = ServedOmega(make_omega(0), CONFIG.sigma)
    pictures = to_network(dataset.crops("test")[:batch])  # not those it was compared on
    session = ort.InferenceSession(folder / "omega.onnx", providers=["CPUExecutionProvider"])
    landmarks, confidence = session.run(["landmarks", "confidence"], {"picture": pictures})
    with torch.no_grad():
        expected = [each.numpy() for each in served(torch.from_numpy(pictures))]
    assert landmarks.shape == (batch, 68, 2)
    assert confidence.shape == (batch,)
    assert np.abs(landmarks - expected[0]).max() < 1e-3
    assert np.abs(confidence - expected[1]).max() < 1e-3
    assert expected[0].std() > 0.01  # an answer that says something


def test_confidence_is_that_of_the_heatmaps_peaks() -> None:
    class Painted(torch.nn.Module):
        def forward(self, heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(len(heatmaps), 1, 2), heatmaps

    served = ServedOmega(Hourglass(CONFIG.network), sigma=2.0)
    served.omega = Painted()
    high = 1 / (2 * np.pi * 4)
    heatmaps = torch.zeros(3, 2, 4, 4)
    heatmaps[0, 0, 1, 2], heatmaps[0, 1, 0, 0] = high, high / 2
    heatmaps[1, :, 3, 3] = 0.9  # sharper than was asked for is no surer
    heatmaps[2] = 1 / 16
    assert served(heatmaps)[1].tolist() == pytest.approx([0.75, 1, min(1, 1 / 16 / high)])


def test_the_weights_come_back_bit_by_bit_and_carry_gradients_to_the_picture(folder: Path) -> None:
    wanted, loaded = make_omega(0).state_dict(), load_omega(folder)
    assert wanted.keys() == loaded.state_dict().keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    picture = torch.full((1, 3, 256, 256), 0.5, requires_grad=True)
    found, _ = loaded(picture)
    (gradient,) = torch.autograd.grad(found.square().sum(), picture)
    assert gradient.abs().max() > 0


def test_large_weights_are_stored_in_half_the_bytes(folder: Path) -> None:
    model = onnx.load(folder / "omega.onnx")
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    large = {f"omega.{name}.float16" for name, each in make_omega(0).named_parameters() if each.numel() >= 1024}
    assert halves == large != set()


def test_the_size_of_the_default_stays_below_the_limit() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in Hourglass(HourglassConfig(points=98)).parameters())
    assert 2 * count < module.LARGEST_FILE


def test_parameters_that_are_alike_come_back_too(dataset: FrameDataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    omega = Hourglass(CONFIG.network).eval()  # as training finds it: dozens of its tensors are zeros
    round_weights(omega)
    loaded = load_omega(export_omega(omega, {"ada": dataset}, {}, CONFIG, tmp_path))
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, omega.state_dict()[name]), name


def test_a_file_that_differs_replaces_nothing(
    folder: Path, dataset: FrameDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "omega.onnx").read_bytes(), (folder / "detector.json").read_bytes()
    monkeypatch.setattr(module, "PARITY", 0.0)
    omega = make_omega(3)
    with pytest.raises(ExportError, match=r"omega\.onnx differs from its network by .* Nothing was replaced"):
        export_omega(omega, {"ada": dataset}, NME, CONFIG, folder.parent)
    monkeypatch.undo()
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    with pytest.raises(ExportError, match=r"omega\.onnx has 0\.\d MB; at most 0\.001 are allowed"):
        export_omega(omega, {"ada": dataset}, NME, CONFIG, folder.parent)
    assert ((folder / "omega.onnx").read_bytes(), (folder / "detector.json").read_bytes()) == before


def copy(folder: Path, to: Path, **changes: object) -> Path:
    """The detector's folder with fields of its manifest changed."""
    to.mkdir()
    (to / "omega.onnx").write_bytes((folder / "omega.onnx").read_bytes())
    manifest = json.loads((folder / "detector.json").read_text())
    (to / "detector.json").write_text(json.dumps(manifest | changes))
    return to


def test_a_detector_that_is_missing_or_damaged_says_what_makes_it(folder: Path, tmp_path: Path) -> None:
    remedy = "`make train-detector` makes models/hourglass again"
    with pytest.raises(DetectorUnavailableError, match=f"no trained detector in .*; {remedy}"):
        load_omega(tmp_path)
    broken = copy(folder, tmp_path / "broken")
    (broken / "omega.onnx").write_bytes(b"something else")
    with pytest.raises(DetectorUnavailableError, match=rf"omega\.onnx is damaged .*; {remedy}"):
        load_omega(broken)
    (broken / "omega.onnx").unlink()
    with pytest.raises(DetectorUnavailableError, match=rf"omega\.onnx is not in .*; {remedy}"):
        load_omega(broken)
    wider = CONFIG.model_copy(update={"network": HourglassConfig(channels=34, depth=2)})
    other = copy(folder, tmp_path / "other", config=wider.model_dump(mode="json"))
    with pytest.raises(DetectorUnavailableError, match=f"does not hold the weights of the network .*(?s:.*){remedy}"):
        load_omega(other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"scheme": "dlib5"}, "unknown landmark scheme 'dlib5'; this version knows"),
        ({"scheme": "wflw98"}, r"landmarks has the shape \(None, 68, 2\); expected \(None, 98, 2\)"),
        ({"crop": {"centre_points": [68], "scale_points": [0, 1], "factor": 4, "drop": 0}}, "does not have"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_manifest_that_does_not_fit_together_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(DetectorUnavailableError, match=words):
        read_manifest(copy(folder, tmp_path / "changed", **changes))


def test_an_omega_of_98_points_guides_a_target_of_68(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    wide = Hourglass(HourglassConfig(points=98, channels=32, depth=2)).eval()
    round_weights(wide)
    dataset = FrameDataset(write_dataset(tmp_path / "data", "many", film_points(24)))
    config = DetectorTraining(network=wide.config)
    dataset.manifest = dataset.manifest.model_copy(update={"scheme": "wflw98"})
    written = export_omega(wide, {"many": dataset}, {}, config, tmp_path)
    pictures = torch.rand(2, 3, 256, 256)
    guidance = load_guidance(written, IBUG68)
    with torch.no_grad():
        found = guidance.omega(pictures)[0]
        wanted = wide(pictures)[0][:, list(CONVERSIONS["wflw98", "ibug68"])]
    assert guidance.points == list(range(68))
    torch.testing.assert_close(found, wanted)
    fewer = load_guidance(folder, WFLW98)  # of 98 points it finds the 68 that it knows
    assert fewer.points == list(CONVERSIONS["wflw98", "ibug68"])


def test_an_omega_of_68_points_guides_those_of_a_target_of_70(folder: Path) -> None:
    same, more = load_guidance(folder, IBUG68), load_guidance(folder, IBUG70)
    assert same.points == more.points == list(range(68))  # the pupils, which it does not find, are left out
    pictures = torch.rand(1, 3, 256, 256)
    assert torch.equal(same.omega(pictures)[0], load_omega(folder)(pictures)[0])
    assert more.omega(pictures)[0].shape == (1, 68, 2)
