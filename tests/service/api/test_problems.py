"""What is refused is refused in words: application/problem+json, never a 500, never a stack trace."""

import json
import random
from typing import Any

import httpx
import pytest
from tiny_service import MarkedDetector, make_face, serve

from service.settings import Settings

pytestmark = pytest.mark.anyio

FACE: list[list[float]] = make_face().astype(float).tolist()


def expect_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The problem, whole and in words."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert len(answer.content) < 4000
    return problem


async def post_raw(client: httpx.AsyncClient, body: str | bytes, kind: str = "application/json") -> httpx.Response:
    return await client.post("/synthesize", content=body, headers={"content-type": kind})


def with_point(point: object) -> str:
    """A body with its third point exchanged; Python writes NaN and Infinity as bare words."""
    return json.dumps({"target": "ada", "landmarks": [*FACE[:2], point, *FACE[3:]]})


@pytest.mark.parametrize(
    "landmarks",
    [
        FACE[:67],
        [*FACE, [1, 2]],
        [],
        [[0.5, 0.5]] * 68,
        [[1e6, 1e6]] * 68,
        [*FACE[:-1], [1e7, 0]],
        [*FACE[:-1], [1e300, 0]],
        [*FACE[:-1], [900, 900]],
        [[1e6, 1e6], *FACE[1:]],
        [*FACE[:30], [1e6, 1e6], *FACE[31:]],
        [*FACE[:36], [1e6, 1e6], *FACE[37:]],
        [[x, 2 * x + 1] for x, _ in FACE],
        [[0.0, 0.0]] * 67 + [[1.0, 1.0]],
        [[1e5 + 1e-3 * x, 1e5] for x, _ in FACE],
    ],
)
async def test_landmarks_that_no_face_can_have(settings: Settings, landmarks: list[list[float]]) -> None:
    async with serve(settings) as client:
        answer = await client.post("/synthesize", json={"target": "ada", "landmarks": landmarks})
        problem = expect_problem(answer, 422)
        assert problem["type"] == "urn:landmarkgan:problem:landmarks"
        assert "ibug68 (68 points)" in problem["expected"]


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400])
async def test_numbers_that_are_none(settings: Settings, bad: str) -> None:
    async with serve(settings) as client:
        expect_problem(await post_raw(client, with_point([0.5, "?"]).replace('"?"', bad)), 422)


@pytest.mark.parametrize(
    "point",
    [["0.5", "0.5"], [True, False], [None, None], [1], [1, 2, 3], [], "ab", 5, None, {}, {"x": 1, "y": 2}, [[1], [2]]],
)
async def test_points_that_are_none(settings: Settings, point: object) -> None:
    async with serve(settings) as client:
        problem = expect_problem(await post_raw(client, with_point(point)), 422)
        assert "landmarks.2" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"landmarks", b"{'target': 'ada'}", b"\xff\xfe", b'{"a": 1} {', b"\x00", b'{"target": "\xff"}',
     b"[" * 50_000, b'{"a":' * 20_000, b'{"size": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
async def test_bodies_that_are_not_json(settings: Settings, body: bytes) -> None:
    async with serve(settings) as client:
        expect_problem(await post_raw(client, body), 422 if not body else 400)


@pytest.mark.parametrize("body", ["[]", "5", "null", '"text"', "{}", '{"landmarks": {}}', '{"landmarks": null}', "NaN"])
async def test_json_of_another_shape(settings: Settings, body: str) -> None:
    async with serve(settings) as client:
        expect_problem(await post_raw(client, body), 422)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "gif"}, {"format": 5}, {"size": 15}, {"size": 1025}, {"size": 10**30}, {"size": "big"},
        {"size": 20.5}, {"target": "\ud800"},
        {"quality": 0}, {"quality": 101}, {"convert": "yes"}, {"convert": 1}, {"response": "html"},
        {"target": 5}, {"target": "a" * 65}, {"target": ["ada"]}, {"scheme": 68}, {"scheme": "\ud800"},
        {"landmark": []}, {"\ud800": 1}, {"a" * 5000: 1}, {"landmarks": [[1, 2]] * 1001},
    ],
)  # fmt: skip
async def test_options_that_are_refused(settings: Settings, changes: dict[str, Any]) -> None:
    async with serve(settings) as client:
        body = json.dumps({"target": "ada", "landmarks": FACE} | changes)
        expect_problem(await post_raw(client, body), 422)


@pytest.mark.parametrize("target", ["eve", "../ada", "", "ADA", "ada\n", "\x00"])
async def test_unknown_targets(settings: Settings, target: str) -> None:
    async with serve(settings) as client:
        body = json.dumps({"target": target, "landmarks": FACE})
        problem = expect_problem(await post_raw(client, body), 404, 422)
        assert "ada, bob" in problem["expected"]
    assert problem["status"] == (404 if target else 422)


async def test_content_types(settings: Settings) -> None:
    body = json.dumps({"target": "ada", "landmarks": FACE})
    async with serve(settings) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "", "json", "application/octet-stream"):
            problem = expect_problem(await post_raw(client, body, kind), 415)
            assert "application/json" in problem["expected"]
        assert (await post_raw(client, body, "Application/JSON; charset=utf-8")).status_code == 200


async def test_bodies_too_large_are_not_buffered(settings: Settings) -> None:
    """Declared, or sent in pieces without a length: the rest is never asked for."""
    async with serve(settings, MarkedDetector()) as client:
        expect_problem(await post_raw(client, b" " * 300_000), 413)
        for path, kind, most in (
            ("/synthesize", "application/json", settings.max_json_bytes),
            ("/reenact", "multipart/form-data; boundary=x", settings.max_upload_bytes + 65_536),
        ):
            sent = 0

            async def send_pieces(start: bytes):
                nonlocal sent
                yield start
                for _ in range(1000):
                    sent += 10_000
                    yield b" " * 10_000

            start = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' if "x" in kind else b""
            answer = await client.post(path, content=send_pieces(start), headers={"content-type": kind})
            expect_problem(answer, 413)
            assert sent <= most + 20_000


async def test_paths_and_methods(settings: Settings) -> None:
    async with serve(settings) as client:
        expect_problem(await client.get("/nothing"), 404)
        expect_problem(await client.get("/targets/eve"), 404)
        expect_problem(await client.get("/targets/eve/reference"), 404)
        expect_problem(await client.get("/targets/..%2fada"), 404)
        answer = await client.get("/synthesize")
        expect_problem(answer, 405)
        assert answer.headers["allow"] == "POST"
        expect_problem(await client.delete("/targets"), 405)


async def test_no_page_of_another_origin_may_read_answers(settings: Settings) -> None:
    async with serve(settings) as client:
        answer = await client.get("/targets", headers={"origin": "http://elsewhere"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        expect_problem(await client.options("/synthesize", headers={"origin": "http://elsewhere"}), 405)


def grow_value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value, of the kinds that break parsers."""
    leaves: list[Any] = [
        None, True, False, 0, -1, 10**25, 1e308, -0.0, float("nan"), float("inf"), "", "ada", "\x00", "\ud83d",
        "é" * 9, FACE,
    ]  # fmt: skip
    if depth > 3 or rng.random() < 0.6:
        return rng.choice(leaves)
    if rng.random() < 0.5:
        return [grow_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["landmarks", "x", "", "\udfff"]): grow_value(rng, depth + 1) for _ in range(rng.randrange(4))}


async def test_whatever_is_sent_the_answer_is_no_failure(settings: Settings) -> None:
    rng = random.Random(20)
    names = ["target", "landmarks", "scheme", "convert", "format", "size", "quality", "response", "more"]
    async with serve(settings) as client:
        for _ in range(400):
            order: dict[str, Any] = {"target": "ada", "landmarks": FACE}
            for name in rng.sample(names, rng.randrange(1, 4)):
                order[name] = grow_value(rng)
            body = json.dumps(order if rng.random() < 0.9 else grow_value(rng)).encode()
            if rng.random() < 0.2:
                cut = rng.randrange(len(body))
                body = body[:cut] + bytes([rng.randrange(256)]) + body[cut + 1 :]
            answer = await post_raw(client, body)
            if answer.status_code != 200:
                expect_problem(answer, 400, 404, 422)
