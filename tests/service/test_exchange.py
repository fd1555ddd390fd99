"""Bundles that come, change and go while the service answers."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from tiny_service import make_converter, make_face, read_picture, serve, write_bundle

from service.inference.bundles import GAP_SECONDS, BundleFolder
from service.settings import Settings
from shared.bundle import load_bundle

pytestmark = pytest.mark.anyio

FACE = make_face().astype(float).tolist()
EXCHANGES = 25
PATIENCE = 30  # seconds; it takes one, on a machine that does nothing else


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with one target, `ada`."""
    folder = tmp_path / "models"
    write_bundle(folder, "ada")
    return folder


@pytest.fixture
async def client(models: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(Settings(models_dir=models, threads=1)) as served:
        yield served


def make_variants(folder: Path) -> list[Path]:
    """Two bundles `ada` whose pictures differ by 64 levels of red."""
    for name, shift in (("dark", 0.0), ("bright", 0.25)):
        write_bundle(folder / name, "ada", converter=make_converter(shift))
    return [folder / "dark" / "ada", folder / "bright" / "ada"]


def exchange(models: Path, source: Path, spare: Path) -> None:
    """Put a copy of a bundle in `ada`'s place, as an export does: by two renames."""
    shutil.copytree(source, models / ".ada.new")
    (models / "ada").rename(spare)
    (models / ".ada.new").rename(models / "ada")
    shutil.rmtree(spare)


async def ask(client: httpx.AsyncClient, target: str = "ada") -> httpx.Response:
    return await client.post("/synthesize", json={"target": target, "landmarks": FACE, "format": "png"})


async def wait_for_bundle(client: httpx.AsyncClient, bundle: str | None) -> None:
    """Until `ada` is served by this bundle, or by none."""
    async with asyncio.timeout(PATIENCE):
        while (await client.get("/targets/ada")).headers.get("x-landmarkgan-bundle") != bundle:
            await asyncio.sleep(0.02)


async def test_a_bundle_that_appears_is_served_and_one_that_goes_is_not(
    client: httpx.AsyncClient, models: Path, tmp_path: Path
) -> None:
    assert (await ask(client, "bob")).status_code == 404
    write_bundle(tmp_path, "bob")
    (tmp_path / "bob").rename(models / "bob")
    async with asyncio.timeout(PATIENCE):
        while (await ask(client, "bob")).status_code != 200:
            await asyncio.sleep(0.02)
    shutil.rmtree(models / "ada")
    await wait_for_bundle(client, None)
    assert (await ask(client)).status_code == 404
    assert [each["id"] for each in (await client.get("/targets")).json()["targets"]] == ["bob"]


async def test_the_last_target_that_goes_leaves_the_service_unready(client: httpx.AsyncClient, models: Path) -> None:
    assert (await client.get("/readyz")).status_code == 200
    shutil.rmtree(models / "ada")
    await wait_for_bundle(client, None)
    assert (await client.get("/readyz")).status_code == 503
    write_bundle(models, "ada")
    await wait_for_bundle(client, load_bundle(models / "ada").sha256)
    assert (await client.get("/readyz")).status_code == 200


async def test_exchanges_under_load_drop_and_mix_nothing(
    client: httpx.AsyncClient, models: Path, tmp_path: Path
) -> None:
    variants = make_variants(tmp_path)
    red = {load_bundle(folder).sha256: level for folder, level in zip(variants, (0.0, 0.25), strict=True)}
    red[load_bundle(models / "ada").sha256] = 0.125
    level = float(np.mean(make_face()[:, 0]))
    answers: list[httpx.Response] = []
    done = asyncio.Event()

    async def keep_asking() -> None:
        while not done.is_set():
            answers.append(await ask(client))

    load = [asyncio.create_task(keep_asking()) for _ in range(4)]
    try:
        for number in range(EXCHANGES):
            exchange(models, variants[number % 2], tmp_path / "old")
            await wait_for_bundle(client, load_bundle(variants[number % 2]).sha256)
    finally:
        done.set()
        await asyncio.gather(*load)
    assert {answer.status_code for answer in answers} == {200}
    seen = {answer.headers["x-landmarkgan-bundle"] for answer in answers}
    assert seen >= {load_bundle(folder).sha256 for folder in variants}
    for answer in answers:
        bundle = answer.headers["x-landmarkgan-bundle"]
        assert answer.headers["etag"].startswith(f'"{bundle[:16]}-')
        made = float(read_picture(answer.content)[..., 0].mean()) / 255
        assert made == pytest.approx(min(1.0, level + red[bundle]), abs=0.02), "made by another bundle than it says"


async def test_a_damaged_newcomer_displaces_nothing(client: httpx.AsyncClient, models: Path, tmp_path: Path) -> None:
    good = load_bundle(models / "ada").sha256
    dark, bright = make_variants(tmp_path)
    (dark / "tl2f.onnx").write_bytes(b"not ONNX")
    exchange(models, dark, tmp_path / "old")
    async with asyncio.timeout(PATIENCE):
        while not (listed := (await client.get("/targets")).json())["damaged"]:
            await asyncio.sleep(0.02)
    assert (listed["damaged"][0]["id"], listed["targets"][0]["bundle"]) == ("ada", good)
    assert (await ask(client)).headers["x-landmarkgan-bundle"] == good
    exchange(models, bright, tmp_path / "old")
    await wait_for_bundle(client, load_bundle(bright).sha256)
    assert (await client.get("/targets")).json()["damaged"] == []


async def test_a_file_exchanged_in_its_place_is_seen(client: httpx.AsyncClient, models: Path, tmp_path: Path) -> None:
    _, bright = make_variants(tmp_path)
    for name in ("converter.onnx", "bundle.json"):
        shutil.copyfile(bright / name, models / "ada" / name)
    await wait_for_bundle(client, load_bundle(bright).sha256)


def test_a_short_gap_withdraws_nothing(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("service.inference.bundles.time.monotonic", lambda: clock[0])
    folder = BundleFolder(models, "cpu", 1)
    first = folder.scan()
    (models / "ada").rename(tmp_path / "ada")
    assert folder.scan() is first
    clock[0] = GAP_SECONDS / 2
    assert folder.scan() is first
    (tmp_path / "ada").rename(models / "ada")
    assert folder.scan() is first  # the same bundle: its networks are not opened anew
    (models / "ada").rename(tmp_path / "ada")
    clock[0] = 10.0
    assert "ada" in folder.scan().targets  # the gap counts from when it was last there
    clock[0] += GAP_SECONDS
    assert folder.scan().targets == {}


def test_a_models_folder_that_is_away_takes_no_target_along(models: Path, tmp_path: Path) -> None:
    folder = BundleFolder(models, "cpu", 1)
    first = folder.scan()
    models.rename(tmp_path / "away")
    assert folder.scan() is first


async def test_what_a_client_has_is_not_sent_again(client: httpx.AsyncClient, models: Path) -> None:
    for path in ("/targets/ada", "/targets/ada/reference"):
        first = await client.get(path)
        assert (first.status_code, first.headers["etag"]) == (200, f'"{load_bundle(models / "ada").sha256}"')
        again = await client.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


async def test_a_target_without_consent_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("/targets")).json()["targets"][0]["consent"] == "none"
    assert (await ask(client)).headers["x-landmarkgan-consent"] == "none"


async def test_consent_can_be_required(models: Path) -> None:
    document = models / "ada" / "bundle.json"
    async with serve(Settings(models_dir=models, threads=1, require_consent=True)) as client:
        refused = await ask(client)
        assert refused.status_code == 503
        assert "consent record" in refused.json()["detail"]
        document.write_text(document.read_text().replace('"consent": null', '"consent": "2026-17"'))
        await wait_for_bundle(client, load_bundle(models / "ada").sha256)
        assert (await ask(client)).headers["x-landmarkgan-consent"] == "recorded"
