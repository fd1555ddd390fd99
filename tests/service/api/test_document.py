"""What the API says of itself: its document, the methods of its paths, its headers, and words for unread bodies."""

import inspect
import json
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from tiny_service import MarkedDetector, draw_faces, make_face, serve, to_bytes

from service.api.job_routes import router as job_router
from service.api.routes import router
from service.api.stream_messages import StreamOptions
from service.settings import Settings

pytestmark = pytest.mark.anyio

FACE: list[list[float]] = make_face().astype(float).tolist()


async def test_forms_are_documented_as_they_are_read(settings: Settings) -> None:
    async with serve(settings) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    for path in ("/reenact", "/landmarks", "/reenact/video"):
        assert list(paths[path]["post"]["requestBody"]["content"]) == ["multipart/form-data"]


def find_fewest(schema: dict[str, Any]) -> list[int]:
    """The fewest items of each list of points in a schema."""
    if schema.get("items", {}).get("prefixItems"):
        return [schema["minItems"]]
    parts = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]
    return [count for part in parts for count in find_fewest(part)]


async def test_no_face_of_the_schema_has_too_few_points(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
        fields = document["components"]["schemas"]["SynthesizeRequest"]["properties"]
        assert find_fewest(fields["landmarks"]) == [68]
        assert find_fewest(fields["source_neutral"]) == [68, 68]
        for bad in ([[]], [], [FACE, []]):
            order = {"target": "ada", "landmarks": FACE, "source_neutral": bad}
            assert (await client.post("/synthesize", json=order)).status_code == 422


async def test_every_example_works_as_it_is(settings: Settings) -> None:
    """Whatever an endpoint wants, the document has: files are the asker's own."""
    files = {"image": to_bytes(draw_faces((5, 10, 40))), "video": b"no video"}
    expected = {"/reenact/video": {415}, "/animate": {202}}
    asked = 0
    async with serve(settings, MarkedDetector()) as client:
        document = (await client.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                values = {each["name"]: each["example"] for each in operation.get("parameters", ())}
                content = operation.get("requestBody", {}).get("content", {})
                bodies: list[dict[str, Any]] = [{}]
                if "application/json" in content:
                    bodies = [{"json": each["value"]} for each in content["application/json"]["examples"].values()]
                elif "multipart/form-data" in content:
                    name = content["multipart/form-data"]["schema"]["$ref"].rsplit("/", 1)[1]
                    fields = document["components"]["schemas"][name]["properties"]
                    bodies = [
                        {
                            "files": {field: files[field] for field in fields if field in files},
                            "data": {field: one["examples"][0] for field, one in fields.items() if "examples" in one},
                        }
                    ]
                for body in bodies:
                    answer = await client.request(method, path.format(**values), **body)
                    wanted = {404} if "/jobs/" in path else expected.get(path, {200})
                    assert answer.status_code in wanted, (method, path, answer.text[:200])
                    asked += 1
    assert asked > 18


async def test_each_call_says_in_a_line_what_it_gives(settings: Settings) -> None:
    async with serve(settings) as client:
        document = (await client.get("/openapi.json")).json()
    calls = [call for methods in document["paths"].values() for call in methods.values()]
    assert document["paths"]["/synthesize"]["post"]["summary"] == "Landmarks to the target's face"
    for call in calls:
        assert 0 < len(call["summary"]) <= 90
        assert call["description"].startswith(call["summary"])


async def test_the_stream_is_described_whole(settings: Settings) -> None:
    """OpenAPI has no WebSockets: the document's own description has the options and the answer's header."""
    async with serve(settings) as client:
        description = (await client.get("/openapi.json")).json()["info"]["description"]
    header = ("frame", "state", "reason", "dropped", "neutral", "timings_ms", "total_ms", "width", "height", "bundle")
    for name in (*StreamOptions.model_fields, *header):
        assert f"`{name}`" in description


async def test_no_request_waits_for_a_thread_to_be_let_in() -> None:
    """FastAPI calls a dependency that is no coroutine in a thread: 0.2 ms a request for each."""
    waiting = [route.dependant for route in (*router.routes, *job_router.routes) if isinstance(route, APIRoute)]
    assert len(waiting) > 15
    while waiting:
        dependant = waiting.pop()
        assert inspect.iscoroutinefunction(dependant.call), dependant.call
        waiting += dependant.dependencies


async def test_allow_names_every_method_of_a_path(settings: Settings) -> None:
    async with serve(settings) as client:
        for path, methods in {
            "/jobs/1": "DELETE, GET, HEAD", "/synthesize": "POST", "/readyz": "GET, HEAD", "/": "GET, HEAD",
        }.items():  # fmt: skip
            answer = await client.request("PATCH", path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_head_is_answered_as_get_is(settings: Settings) -> None:
    async with serve(settings) as client:
        for path in ("/readyz", "/livez", "/targets", "/targets/ada/reference", "/", "/web/style.css", "/nothing"):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])


async def test_no_answer_says_nosniff_twice(settings: Settings) -> None:
    async with serve(settings) as client:
        for path in ("/", "/web/style.css", "/targets", "/nothing"):
            assert (await client.get(path)).headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize(
    ("path", "kind", "body", "words"),
    [
        ("/synthesize", "application/json", b'{"target": "\xff"}', "not UTF-8"),
        ("/synthesize", "application/json", b"[" * 100_000, "nested"),
        ("/landmarks", "multipart/form-data", b"", "boundary"),
        ("/landmarks", "multipart/form-data; boundary=x", b"no part at all", "multipart"),
        ("/landmarks", "multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n", ""),
    ],
)
async def test_unread_bodies_say_why(settings: Settings, path: str, kind: str, body: bytes, words: str) -> None:
    async with serve(settings) as client:
        answer: httpx.Response = await client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    detail = json.loads(answer.content)["detail"]
    assert words in detail
    assert detail != "There was an error parsing the body"
