"""WebSocket /stream over real sockets: frames in, faces out, old frames dropped, refusals in words."""

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from running_service import Running, run_service, wait_until
from tiny_service import MarkedDetector, draw_faces, make_face, read_picture, to_bytes
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from service.api.stream_messages import unpack_answer
from service.settings import Settings
from shared.detectors import DetectedFace

MODELS = Path(__file__).parents[3] / "models"
FACE = to_bytes(draw_faces((20, 15, 60)))
ADA = '{"target": "ada", "smoothing": false}'


class GatedDetector(MarkedDetector):
    """A slow detector: each frame waits until the gate lets one through; keeps the width of each face it saw."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.widths: list[int] = []

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        self.widths.append(int((image == (255, 0, 0)).all(axis=2).sum()))
        return super().detect(image)


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    with run_service(settings, MarkedDetector()) as service:
        yield service


@contextmanager
def open_stream(service: Running, options: str = ADA, **more: Any) -> Iterator[ClientConnection]:
    """A stream that is ready for frames."""
    with connect(f"ws://{service.address}/stream", **more) as socket:
        socket.send(options)
        ready = json.loads(socket.recv(timeout=10))
        assert ready["image_size"] in (32, 256)
        yield socket


def receive(socket: ClientConnection) -> tuple[dict[str, Any], bytes]:
    """The next answer: header and picture."""
    message = socket.recv(timeout=20)
    assert isinstance(message, bytes)
    return unpack_answer(message)


def ask(socket: ClientConnection, frame: bytes) -> tuple[dict[str, Any], bytes]:
    socket.send(frame)
    return receive(socket)


def expect_close(socket: ClientConnection, slug: str, status: int) -> dict[str, Any]:
    """The problem in a text message, then a close code and a reason that say the same."""
    message = socket.recv(timeout=10)
    assert isinstance(message, str)
    problem: dict[str, Any] = json.loads(message)
    assert (problem["type"].split(":")[-1], problem["status"]) == (slug, status)
    with pytest.raises(ConnectionClosedError) as closed:
        socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4000 + status
    assert closed.value.rcvd.reason
    assert problem["detail"].startswith(closed.value.rcvd.reason[:100])
    return problem


def test_real_faces_with_the_committed_bundles() -> None:
    with Image.open(MODELS / "cap" / "reference.jpg") as picture:
        face = picture.convert("RGB").resize((240, 240))
    frame = Image.new("RGB", (640, 480), (120, 124, 118))
    with (
        run_service(Settings(models_dir=MODELS, threads=2)) as service,
        open_stream(service, '{"target": "franck"}') as socket,
    ):
        for step in range(4):
            frame.paste(face, (200 + 3 * step, 120))
            header, data = ask(socket, to_bytes(frame, "JPEG"))
            assert (header["frame"], header["state"], header["dropped"]) == (step + 1, "face", 0)
            assert {"decode", "detect", "convert", "synthesize", "encode"} <= set(header["timings_ms"])
            shown = read_picture(data)
            assert shown.shape == (256, 256, 3) == (header["height"], header["width"], 3)
            assert shown.std() > 20
        socket.send('{"target": "franck", "paste_back": true, "quality": 80}')
        assert json.loads(socket.recv(timeout=10))["target"] == "franck"
        header, data = ask(socket, to_bytes(frame, "WEBP"))
        pasted, before = read_picture(data).astype(int), np.asarray(frame).astype(int)
        assert pasted.shape == before.shape
        changed = np.abs(pasted - before).max(axis=2) > 12
        assert changed[160:320, 240:400].mean() > 0.1
        assert changed[:, :150].mean() < 0.01


def test_while_one_frame_is_in_work_only_the_newest_is_kept(settings: Settings) -> None:
    detector = GatedDetector()
    with run_service(settings, detector) as service, open_stream(service) as socket:
        socket.send(to_bytes(draw_faces((5, 10, 30))))
        assert detector.entered.acquire(timeout=10)
        for width in range(31, 41):
            socket.send(to_bytes(draw_faces((5, 10, width))))
        socket.send(ADA)  # answered in its turn, so that all frames have arrived
        assert isinstance(socket.recv(timeout=10), str)
        detector.gate.release(5)
        first, second = receive(socket)[0], receive(socket)[0]
        assert (first["frame"], first["dropped"]) == (1, 9)
        assert (second["frame"], second["dropped"]) == (11, 9)
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.2)
    assert detector.widths == [30, 40]


def test_a_frame_is_looked_at_while_the_one_before_is_drawn_and_no_third(settings: Settings) -> None:
    detector, gate = GatedDetector(), threading.Semaphore(0)
    detector.gate.release(10)
    two = settings.model_copy(update={"threads": 2})
    with run_service(two, detector) as service, open_stream(service) as socket:
        animator = service.app.state.lifecycle.face_service.catalogue.targets["ada"].animator
        draw = animator.generator

        def draw_when_told(points: NDArray[np.float32]) -> NDArray[np.float32]:
            assert gate.acquire(timeout=10)
            return draw(points)

        animator.generator = draw_when_told
        for width in (30, 31, 32):
            socket.send(to_bytes(draw_faces((5, 10, width))))
            assert width == 32 or detector.entered.acquire(timeout=10)
        assert not detector.entered.acquire(timeout=0.2)
        gate.release()
        assert receive(socket)[0]["frame"] == 1
        assert detector.entered.acquire(timeout=10)
        gate.release(2)
        assert [receive(socket)[0]["frame"] for _ in range(2)] == [2, 3]
    assert detector.widths == [30, 31, 32]


def test_a_frame_without_a_face_says_so_and_the_stream_goes_on(running: Running) -> None:
    with open_stream(running) as socket:
        header, data = ask(socket, to_bytes(draw_faces()))
        assert (header["state"], data) == ("no-face", b"")
        assert "No face" in header["reason"]
        header, data = ask(socket, FACE)
        assert (header["frame"], header["state"]) == (2, "face")
        assert read_picture(data).shape == (32, 32, 3)


def test_frames_that_are_refused_do_not_end_the_stream(running: Running) -> None:
    running.app.state.lifecycle.face_service.settings = running.app.state.lifecycle.face_service.settings.model_copy(
        update={"max_frame_bytes": 20_000, "max_frame_pixels": 20_000}
    )
    with open_stream(running) as socket:
        for frame, words in (
            (b"", "empty"),
            (b"just text", "read as a picture"),
            (FACE[: len(FACE) // 2], "truncated"),
            (bytes(20_001), "20000"),
            (to_bytes(Image.new("RGB", (201, 100))), "20000 pixels"),
        ):
            header, data = ask(socket, frame)
            assert (header["state"], data) == ("refused", b"")
            assert words in header["reason"]
        assert ask(socket, FACE)[0]["state"] == "face"


def test_options_shape_the_answer(running: Running) -> None:
    with open_stream(running, '{"target": "bob", "size": 48, "face": 1}') as socket:
        header, _ = ask(socket, FACE)
        assert header["state"] == "no-face"  # there is no second face
        header, data = ask(socket, to_bytes(draw_faces((5, 10, 40), (50, 12, 60))))
        assert read_picture(data).shape == (48, 48, 3)
    with open_stream(running, '{"target": "ada", "convert": false}') as plain, open_stream(running) as converted:
        kept, found = (read_picture(ask(socket, FACE)[1]).astype(int) for socket in (plain, converted))
    # The target's own face at rest: by its neutral face nothing changes; the tiny learned converter would add 32.
    assert (found - kept)[..., 0].mean() == pytest.approx(0, abs=3)


def test_a_large_jpeg_is_searched_at_half_its_size_and_pasted_into_whole(settings: Settings) -> None:
    class WatchingDetector(MarkedDetector):
        def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
            shapes.append(image.shape[:2])
            return [DetectedFace((make_face() * np.float32(image.shape[0])).astype(np.float32), 0.9)]

    shapes: list[tuple[int, ...]] = []
    frame = to_bytes(Image.new("RGB", (1280, 960), (90, 120, 60)), "JPEG")
    with run_service(settings, WatchingDetector()) as service:
        with open_stream(service) as socket:
            assert ask(socket, frame)[0]["width"] == 32
        with open_stream(service, '{"target": "ada", "paste_back": true}') as socket:
            assert ask(socket, frame)[0]["width"] == 1280
    assert shapes == [(480, 640), (960, 1280)]


@pytest.mark.parametrize(
    ("options", "slug", "status"),
    [
        ("{", "options", 422),
        ("[]", "options", 422),
        ("[" * 4000, "options", 422),
        ('{"target": "ada"' + " " * 5000 + "}", "options", 422),
        ('{"target": "ada", "colour": 1}', "options", 422),
        ('{"target": "ada", "smoothing": "yes"}', "options", 422),
        ('{"target": "ada", "size": 15}', "options", 422),
        ('{"target": "ada", "size": 64, "paste_back": true}', "options", 422),
        ('{"target": "eve"}', "unknown-target", 404),
        ("{}", "unnamed-target", 422),
        (FACE, "options", 422),
    ],
)
def test_options_that_are_refused(running: Running, options: str | bytes, slug: str, status: int) -> None:
    with connect(f"ws://{running.address}/stream") as socket:
        socket.send(options)
        assert expect_close(socket, slug, status)["expected"]
    wait_until(lambda: running.app.state.streams.open == 0)


def test_the_driver_says_what_is_neutral(running: Running) -> None:
    """It holds for other options too, and not for another face."""
    with open_stream(running) as socket:
        header, _ = ask(socket, FACE)
        assert header["neutral"] == "watched"
        socket.send('{"neutral": "take"}')
        assert json.loads(socket.recv(timeout=10)) == {"neutral": "taking"}
        while header["neutral"] != "given":
            header, _ = ask(socket, FACE)
        assert header["state"] == "face"
        socket.send('{"target": "ada"}')
        socket.recv(timeout=10)
        assert ask(socket, FACE)[0]["neutral"] == "given"
        socket.send('{"target": "ada", "face": 1}')  # somebody else
        socket.recv(timeout=10)
        assert ask(socket, FACE)[0]["neutral"] == "watched"
    for first in ('{"neutral": "take"}', '{"target": "ada", "convert": false}'):
        with connect(f"ws://{running.address}/stream") as socket:
            socket.send(first)
            if "target" in first:
                socket.recv(timeout=10)
                socket.send('{"neutral": "take"}')
            expect_close(socket, "options", 422)


def test_a_silent_stream_is_closed(settings: Settings) -> None:
    with run_service(settings.model_copy(update={"stream_idle_seconds": 0.2}), MarkedDetector()) as service:
        with connect(f"ws://{service.address}/stream") as socket:
            expect_close(socket, "idle", 408)
        with open_stream(service) as socket:
            assert ask(socket, FACE)[0]["state"] == "face"
            expect_close(socket, "idle", 408)


def test_streams_are_counted_and_given_back(settings: Settings) -> None:
    with run_service(settings.model_copy(update={"max_streams": 1}), MarkedDetector()) as service:
        with open_stream(service), connect(f"ws://{service.address}/stream") as second:
            expect_close(second, "busy", 503)
        wait_until(lambda: service.app.state.streams.open == 0)
        with open_stream(service) as third:
            assert ask(third, FACE)[0]["state"] == "face"


def test_a_draining_service_ends_its_streams_and_takes_no_more(running: Running) -> None:
    with open_stream(running) as socket:
        assert ask(socket, FACE)[0]["state"] == "face"
        running.app.state.lifecycle.draining = True
        assert ask(socket, FACE)[0]["state"] == "face"
        expect_close(socket, "not-ready", 503)
    with connect(f"ws://{running.address}/stream") as socket:
        expect_close(socket, "not-ready", 503)


def test_pages_of_other_hosts_may_not_stream(settings: Settings) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("https://friend.example",)})
    with run_service(allowing, MarkedDetector()) as service:
        with connect(f"ws://{service.address}/stream", origin="https://else.example") as socket:
            expect_close(socket, "foreign-page", 403)
        for origin in ("https://friend.example", f"http://{service.address}"):
            with open_stream(service, origin=origin) as socket:
                assert ask(socket, FACE)[0]["state"] == "face"


def test_no_detector_refuses_streams(settings: Settings) -> None:
    """The tiny models folder has no models/mesh."""
    with run_service(settings) as service, connect(f"ws://{service.address}/stream") as socket:
        socket.send(ADA)
        expect_close(socket, "no-detector", 503)


def test_the_header_is_what_the_documents_say() -> None:
    header = b'{"frame": 1}'
    assert unpack_answer(struct.pack(">I", len(header)) + header + b"jpeg") == ({"frame": 1}, b"jpeg")
