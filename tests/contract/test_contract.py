"""From networks to a decoded picture: export, bundle, service, HTTP, and the same picture comes out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from service.settings import Settings
from shared.bundle import RunRecord
from shared.geometry import find_crop
from shared.pixels import from_network
from tests.fixtures.acted import RULE, film_points, write_dataset
from tests.service.tiny_service import read_picture, serve
from tests.trainer.tiny_training import TEXTURES, make_frames
from trainer.config import TrainingConfig
from trainer.data.dataset import FrameDataset
from trainer.export.bundle import export_bundle
from trainer.networks.converter import Converter, ConverterConfig, Decoder, Encoder
from trainer.networks.generator import Generator
from trainer.sampling.textures import make_generator

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The event loop of async tests."""
    return "asyncio"


@pytest.fixture(scope="module")
def networks() -> tuple[Converter, Generator]:
    """Untrained networks whose picture depends on the landmarks."""
    torch.manual_seed(0)
    converter = Converter(Encoder(ConverterConfig(hidden=16)), Decoder(ConverterConfig(hidden=16)))
    for layer in (converter.encoder.layers[-1], converter.decoder.layers[-1]):
        torch.nn.init.normal_(layer.weight, std=0.05)
    return converter.eval(), make_generator(TEXTURES, make_frames(4)).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, networks: tuple[Converter, Generator]) -> Path:
    """A models folder with the exported networks as `ada`."""
    folder = tmp_path_factory.mktemp("contract")
    dataset = FrameDataset(write_dataset(folder / "data", "ada", film_points(24)))
    run = RunRecord(seed=0, steps=0, planned=0, seconds=0.0)
    export_bundle(dataset, *networks, TrainingConfig(), folder / "models", run)
    return folder / "models"


async def test_the_service_draws_what_the_networks_draw(models: Path, networks: tuple[Converter, Generator]) -> None:
    converter, theta = networks
    points = film_points(3, phase=5) * 2 + 100  # pixels of some picture
    pictures = []
    async with serve(Settings(models_dir=models, threads=1)) as client:
        for face in points:
            for convert in (True, False):
                order = {"target": "ada", "landmarks": face.astype(float).tolist(), "format": "png", "convert": convert}
                answer = await client.post("/synthesize", json=order)
                assert answer.status_code == 200, answer.text
                picture = read_picture(answer.content)
                units = torch.from_numpy(find_crop(face, RULE).to_unit(face))[None]
                with torch.no_grad():
                    expected = from_network(theta(converter(units) if convert else units).numpy())[0]
                assert picture.shape == (256, 256, 3)
                luma = (picture.astype(float) - expected) @ np.array([0.299, 0.587, 0.114])
                assert np.abs(luma).mean() < 0.5  # the watermark is in the colours,
                assert np.abs(luma).max() < 8  # but where a colour would leave the range
                pictures.append(picture.astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.5  # with and without the converter,
    assert np.abs(pictures[0] - pictures[2]).mean() > 0.5  # and for each face, another picture


async def test_landmarks_come_back_as_the_converter_made_them(
    models: Path, networks: tuple[Converter, Generator]
) -> None:
    face = film_points(1, phase=5)[0]
    order = {"target": "ada", "landmarks": face.astype(float).tolist(), "response": "json"}
    async with serve(Settings(models_dir=models, threads=1)) as client:
        body = (await client.post("/synthesize", json=order)).json()
    crop = find_crop(face, RULE)
    with torch.no_grad():
        expected = networks[0](torch.from_numpy(crop.to_unit(face))[None])[0].numpy()
    np.testing.assert_allclose(body["landmarks"]["crop_units"], expected, atol=1e-3)
    np.testing.assert_allclose(body["landmarks"]["source"], crop.from_unit(expected), atol=1e-3 * crop.side)


async def test_a_damaged_bundle_is_refused_and_the_other_serves_on(models: Path, tmp_path: Path) -> None:
    for name in ("ada", "byte", "gone", "newer", "older", "half"):
        shutil.copytree(models / "ada", tmp_path / name)
        manifest = tmp_path / name / "bundle.json"
        manifest.write_text(manifest.read_text().replace('"target": "ada"', f'"target": "{name}"'))
    flipped = tmp_path / "byte" / "tl2f.onnx"
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    (tmp_path / "gone" / "converter.onnx").unlink()
    for name, version in (("newer", 3), ("older", 1)):
        manifest = tmp_path / name / "bundle.json"
        manifest.write_text(manifest.read_text().replace('"schema_version": 2', f'"schema_version": {version}'))
    (tmp_path / "half" / "bundle.json").unlink()

    order = {"landmarks": film_points(1)[0].astype(float).tolist()}
    async with serve(Settings(models_dir=tmp_path, threads=1)) as client:
        body = (await client.get("/targets")).json()
        assert [target["id"] for target in body["targets"]] == ["ada"]
        reasons = {each["id"]: each["reason"] for each in body["damaged"]}
        for name, said in (
            ("byte", "tl2f.onnx is damaged"),
            ("gone", "converter.onnx is missing"),
            ("newer", "schema version 3 is newer"),
            ("older", "export the target again"),
            ("half", "no bundle.json"),
        ):
            assert said in reasons[name]
            refused = await client.post("/synthesize", json=order | {"target": name})
            assert refused.status_code == 503
            assert said in refused.json()["detail"]
        assert (await client.post("/synthesize", json=order | {"target": "ada"})).status_code == 200
