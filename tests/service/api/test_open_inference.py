"""/v2 as its clients see it: NVIDIA's own against a running service, and the protocol's schema on what it answers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
import pytest
from numpy.typing import NDArray
from running_service import Running, run_service
from tiny_service import SHIFT, SIZE, make_face, read_picture, serve, write_bundle
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from service.provenance.trial_certificate import write_pair
from service.provenance.watermark import Watermark, code_target, read_watermark
from service.settings import Settings

ROOT = Path(__file__).parents[3]
SCHEMAS: dict[str, Any] = json.loads((ROOT / "tests/fixtures/open_inference.json").read_text())
KEY = "0123456789abcdef"
FACE = make_face()


def check_schema(name: str, value: object) -> None:
    """Raises where the protocol's schema of this name does not accept the value."""
    document = json.loads(json.dumps(SCHEMAS))
    tensors = document["components"]["schemas"]["TensorData"]
    tensors["oneOf"] = [each for each in tensors["oneOf"] if each["type"] != "bytes"]  # no type of JSON
    jsonschema_rs.validator_for(document | {"$ref": f"#/components/schemas/{name}"}).validate(value)


def make_input(faces: NDArray[np.float32], binary: bool = True) -> InferInput:
    tensor = InferInput("landmarks", list(faces.shape), "FP32")
    tensor.set_data_from_numpy(faces, binary_data=binary)
    return tensor


def make_order(faces: NDArray[np.float32], **options: Any) -> dict[str, Any]:
    """An inference as JSON alone."""
    tensor = {"name": "landmarks", "shape": list(faces.shape), "datatype": "FP32", "data": faces.ravel().tolist()}
    return {"inputs": [tensor]} | options


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(models_dir=models, threads=1, max_batch=4, jobs_dir=tmp_path_factory.mktemp("jobs"))
    with run_service(settings) as service:
        yield service


@pytest.fixture
def triton(running: Running) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(running.address) as client:
        yield client


def test_health_and_metadata(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("ada")
    assert not triton.is_model_ready("nobody")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    model = triton.get_model_metadata("ada")
    assert model["inputs"] == [{"name": "landmarks", "datatype": "FP32", "shape": [-1, 68, 2]}]
    assert model["outputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_infers_what_synthesize_draws(
    running: Running, triton: InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    faces = np.stack([FACE, FACE * 200 + 30, FACE[:, ::-1]]).astype(np.float32)
    wanted = [InferRequestedOutput("image", binary_data=binary_out)]
    made = triton.infer("ada", [make_input(faces, binary_in)], outputs=wanted, request_id="7")
    pictures = made.as_numpy("image")
    assert (pictures.dtype, pictures.shape) == (np.uint8, (3, SIZE, SIZE, 3))
    assert made.get_response()["id"] == "7"
    for face, picture in zip(faces, pictures, strict=True):
        order = {"target": "ada", "landmarks": face.tolist(), "format": "png"}
        drawn = httpx.post(f"http://{running.address}/synthesize", json=order)
        np.testing.assert_array_equal(picture, read_picture(drawn.content))


def test_parameters_are_those_of_synthesize(triton: InferenceServerClient) -> None:
    def draw(**parameters: Any) -> NDArray[np.uint8]:
        made = triton.infer("ada", [make_input((FACE * 0.5)[None])], parameters=parameters)
        picture: NDArray[np.uint8] = made.as_numpy("image")
        return picture

    red = {name: int(draw(convert=name == "converted", units="crop")[0, 0, 0, 0]) for name in ("converted", "as it is")}
    assert red["as it is"] == pytest.approx(FACE[:, 0].mean() * 0.5 * 255, abs=1)
    assert red["converted"] - red["as it is"] == pytest.approx(SHIFT * 255, abs=1)


def test_pictures_carry_the_watermark_and_the_answer_says_so(tmp_path: Path) -> None:
    """A committed target: the tiny ones' pictures are too small for a mark."""
    with run_service(Settings(models_dir=ROOT / "models", jobs_dir=tmp_path / "jobs")) as service:
        manifest = service.app.state.lifecycle.face_service.catalogue.find("franck").manifest
        faces = np.array([manifest.neutral], np.float32)
        with InferenceServerClient(service.address) as client:
            made = client.infer("franck", [make_input(faces)])
    (picture,) = made.as_numpy("image")
    assert picture.shape == (manifest.image_size, manifest.image_size, 3)
    assert read_watermark(picture) == Watermark("generated", code_target("franck"), 0)
    assert made.get_response()["parameters"]["digital_source_type"].endswith("/trainedAlgorithmicMedia")


def test_the_protocols_schema_accepts_the_answers(running: Running) -> None:
    with httpx.Client(base_url=f"http://{running.address}") as client:
        check_schema("MetadataServerResponse", client.get("/v2").json())
        assert client.get("/v2/").json() == client.get("/v2").json()
        check_schema("MetadataModelResponse", client.get("/v2/models/ada").json())
        check_schema("MetadataModelErrorResponse", client.get("/v2/models/nobody").json())
        order = make_order(np.stack([FACE, FACE]))
        check_schema("InferenceRequest", order)
        answer = client.post("/v2/models/ada/infer", json=order)
        assert answer.status_code == 200
        check_schema("InferenceResponse", answer.json())
        refused = client.post("/v2/models/ada/infer", json={"inputs": []})
        assert refused.status_code == 400
        assert isinstance(refused.json()["error"], str)
        check_schema("InferenceErrorResponse", refused.json())
    with pytest.raises(jsonschema_rs.ValidationError):
        check_schema("InferenceResponse", {"model_name": "ada"})


TENSOR = make_order(FACE[None])["inputs"][0]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "body: Invalid JSON"),
        (b"[" * 100_000, 400, "body: Invalid JSON"),
        (b'{"id": "1"}', 400, "inputs: Field required"),
        ({"inputs": [TENSOR, TENSOR]}, 400, "One input, 'landmarks'"),
        ({"inputs": [TENSOR | {"name": "points"}]}, 400, "One input, 'landmarks'"),
        ({"inputs": [TENSOR | {"datatype": "FP64"}]}, 400, "FP32 [n, points, 2]"),
        ({"inputs": [TENSOR | {"shape": [68, 2]}]}, 400, "FP32 [n, points, 2]"),
        ({"inputs": [TENSOR | {"shape": [-1, 68, 2]}]}, 400, "FP32 [n, points, 2]"),
        ({"inputs": [TENSOR | {"shape": [2, 68, 2]}]}, 400, "do not fill its shape"),
        ({"inputs": [TENSOR | {"shape": [10**30, 68, 2]}]}, 400, "do not fill its shape"),
        ({"inputs": [TENSOR | {"data": ["1.5"] * 136}]}, 400, "valid number"),
        ({"inputs": [TENSOR | {"data": [[[1, 2]], [[1, 2], [3, 4]]]}]}, 400, "do not fill its shape"),
        ({"inputs": [TENSOR | {"parameters": {"binary_data_size": 4}}]}, 400, "data twice"),
        ({"inputs": [{name: TENSOR[name] for name in ("name", "shape", "datatype")}]}, 400, "no data"),
        ({"inputs": [TENSOR], "outputs": [{"name": "face"}]}, 400, "One output, 'image'"),
        ({"inputs": [TENSOR], "parameters": {"convert": "no"}}, 400, "parameters.convert"),
        ({"inputs": [TENSOR | {"shape": [1, 34, 4]}]}, 400, "FP32 [n, points, 2]"),
        (make_order(FACE[None, :5]), 422, "68 points"),
        (make_order(np.full((1, 68, 2), np.nan, np.float32)), 422, "finite"),
        (make_order(np.stack([FACE] * 5)), 422, "From 1 to 4 faces"),
    ],
)
def test_what_can_not_be_used_is_said(running: Running, body: Any, status: int, words: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(f"http://{running.address}/v2/models/ada/infer", content=content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Inference-Header-Content-Length": "9" * 30}, 400),
        ({"Inference-Header-Content-Length": "-1"}, 400),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_heads_that_do_not_fit_the_body(running: Running, headers: dict[str, str], status: int) -> None:
    answer = httpx.post(f"http://{running.address}/v2/models/ada/infer", content=b"{}", headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_too_large_is_refused(running: Running, declared: bool) -> None:
    pieces = [b" " * 32 * 1024] * 9
    content = b"".join(pieces) if declared else iter(pieces)
    answer = httpx.post(f"http://{running.address}/v2/models/ada/infer", content=content)
    assert answer.status_code == 413
    assert "larger than 262144 bytes" in answer.json()["error"]


def test_binary_data_fill_what_they_say(running: Running) -> None:
    tensor = {"name": "landmarks", "shape": [1, 68, 2], "datatype": "FP32", "parameters": {"binary_data_size": 544}}
    head, data = json.dumps({"inputs": [tensor]}).encode(), FACE.tobytes()
    statuses = {}
    for name, rest in (("whole", data), ("short", data[:-1]), ("long", data + b"\0")):
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = httpx.post(f"http://{running.address}/v2/models/ada/infer", content=head + rest, headers=length)
        statuses[name] = answer.status_code
    assert statuses == {"whole": 200, "short": 400, "long": 400}


def test_triton_is_told_why(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="There is no target of this name") as error:
        triton.infer("nobody", [make_input(FACE[None])])
    assert error.value.status() == "404"
    with pytest.raises(InferenceServerException, match="nothing at this path"):
        triton.get_model_metadata("ada", model_version="2")


def test_keys_open_it_and_probes_need_none(models: Path, tmp_path: Path) -> None:
    settings = Settings(models_dir=models, threads=1, jobs_dir=tmp_path / "jobs", api_keys=(KEY,))
    with run_service(settings) as service, InferenceServerClient(service.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="no key of this service") as error:
            client.infer("ada", [make_input(FACE[None])])
        assert error.value.status() == "401"
        made = client.infer("ada", [make_input(FACE[None])], headers={"Authorization": f"Bearer {KEY}"})
        assert made.as_numpy("image").shape == (1, SIZE, SIZE, 3)


@pytest.mark.anyio
async def test_a_full_queue_refuses_and_asks_to_come_again(settings: Settings) -> None:
    """Every face takes a place: two do not fit into a queue of one and a half."""
    async with serve(settings.model_copy(update={"queue_size": 3})) as client:
        orders = [client.post("/v2/models/ada/infer", json=make_order(np.stack([FACE, FACE]))) for _ in range(3)]
        answers = await asyncio.gather(*orders)
        alone = await client.post("/v2/models/ada/infer", json=make_order(np.stack([FACE] * 3)))
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"]
    assert "2 of 3 places are taken" in refused.json()["error"]
    assert alone.status_code == 200


@pytest.mark.anyio
async def test_pixels_do_not_leave_where_credentials_are_wanted(settings: Settings, tmp_path: Path) -> None:
    """Pixels hold no C2PA credentials."""
    certificate, key = write_pair(tmp_path / "c2pa")
    async with serve(settings.model_copy(update={"c2pa_cert": certificate, "c2pa_key": key})) as client:
        answer = await client.post("/v2/models/ada/infer", json=make_order(FACE[None]))
    assert answer.status_code == 503
    assert "no C2PA credentials" in answer.json()["error"]


@pytest.mark.anyio
async def test_readiness_is_that_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    settings = Settings(models_dir=tmp_path / "models", threads=1)
    async with serve(settings) as client:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        waiting = await client.get("/v2/health/ready")
        assert waiting.status_code == 503
        assert "no bundle" in waiting.json()["error"]
        write_bundle(settings.models_dir, "eve")
        for _ in range(200):
            if (await client.get("/v2/models/eve/ready")).status_code == 200:
                break
            await asyncio.sleep(0.05)
        assert (await client.get("/v2/models/eve/ready")).json() == {"name": "eve", "ready": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
