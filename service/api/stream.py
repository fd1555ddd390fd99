"""WebSocket /stream: frames of a camera in, the target's face out, as fast as it goes and no later.

The client sends its options as JSON, then pictures. At most one frame is in work; while it is, only the newest of those
that arrive is kept and the others are dropped and counted, so that an answer is never older than two frames' work.
docs/stream.md is the protocol.
"""

import asyncio
import json
import logging
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.api.admission import REFUSED
from service.api.problems import SHOWN_CHARACTERS, SHOWN_ERRORS, ProblemResponse, answer_error, answer_unforeseen
from service.api.schemas import to_milliseconds
from service.errors import IdleError, OptionError, QueueFullError, ServiceError
from service.inference.bundles import Target
from service.inference.face_player import FacePlayer, NeutralState, compose
from service.inference.face_service import FaceService, Output, Stopwatch
from service.inference.synthesis import place_neutral
from service.lifecycle import Lifecycle
from service.media.images import decode_picture
from service.provenance.label import Label
from shared.errors import ImageError, LandmarkGANError

logger = logging.getLogger(__name__)

router = APIRouter()

CLOSE_BASE = 4000  # close codes are the problem's HTTP status, moved into the range that applications may use
MAX_REASON = 123  # bytes of a close frame's reason
MAX_OPTIONS = 4096  # characters
SHORTEST_SIDE = 480  # pixels of a frame's shorter side that landmarks are found in; the detectors see 192 of a face


# OpenAPI has no words for WebSockets: this stands in the document's description.
PROTOCOL = """
<details><summary>WebSocket /stream: frames of a camera in, the target's face out</summary>

A camera's frames in, the target's face out. Send the options as JSON in a text message, `{}` will do, and get one back
that names the target. Then send each frame as a binary message, a JPEG, PNG or WebP. Each answer is binary: four bytes,
the length of the header, unsigned and big-endian; the header, JSON; a JPEG, or nothing.

| option | default | means |
| --- | --- | --- |
| `target` | the service's | id of a target |
| `convert` | true | false where the person filmed is the target |
| `paste_back` | false | answer with the frame, its face exchanged |
| `smoothing` | true | steady landmarks and crop over time |
| `face` | 0 | which face, by size when it is first seen |
| `size`, `quality`, `label` | | as in POST /reenact |

`{"neutral": "take"}`, sent while the person looks into the camera with a face at rest, takes what is seen next for
their neutral face.

| header | means |
| --- | --- |
| `frame` | number of the frame answered, from 1 |
| `state` | `face`, `no-face` or `refused`; `reason` says why there is no picture |
| `dropped` | frames dropped so far: of those that arrive while one is in work the newest is kept |
| `neutral` | the driver's neutral face is `watched`, `taking` or `given` |
| `timings_ms`, `total_ms` | of each stage; from the frame's arrival to its answer |
| `width`, `height`, `bundle` | of the picture, and of what made it |

What ends a stream comes as a text message, a problem as everywhere, and then as the close: its code is 4000 and the
problem's status.

</details>
"""


class StreamOptions(BaseModel):
    """A stream's first message; a later one replaces it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, max_length=64)
    convert: Annotated[bool, Field(strict=True)] = True
    paste_back: Annotated[bool, Field(strict=True)] = False
    smoothing: Annotated[bool, Field(strict=True)] = True
    face: int = Field(default=0, ge=0, le=1000)
    size: int | None = Field(default=None, ge=16, le=1024)
    quality: int | None = Field(default=None, ge=1, le=100)
    label: Label = "none"


class NeutralRequest(BaseModel):
    """A message that may follow the options: who drives looks neutral now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neutral: Literal["take"]


@dataclass(frozen=True)
class Frame:
    """A picture as it came: its number, from 1, its bytes, and when it was there."""

    number: int
    data: bytes
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What became of a frame: `data` is a JPEG where the state is `face`, else empty, and `reason` says why."""

    state: Literal["face", "no-face", "refused"]
    data: bytes = b""
    width: int = 0
    height: int = 0
    reason: str | None = None


class Streams:
    """Counts the streams that are open."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place for one stream. Raises QueueFullError where every place is taken."""
        if self.open >= self.limit:
            raise QueueFullError(f"{self.limit} streams are open already; try again later.")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Frames to the target's face, until either side has enough."""
    lifecycle, streams = socket.app.state.lifecycle, socket.app.state.streams
    await socket.accept()
    try:
        if REFUSED in socket.scope:
            raise socket.scope[REFUSED]
        lifecycle.check_ready()
        with streams.admit():
            await Stream(socket, lifecycle).run()
    except WebSocketDisconnect:
        pass
    except LandmarkGANError as error:
        await close_with_problem(socket, answer_error(error))
    except Exception as error:
        await close_with_problem(socket, answer_unforeseen("/stream", error))


class Stream:
    """One connection: `run` receives and answers side by side."""

    def __init__(self, socket: WebSocket, lifecycle: Lifecycle) -> None:
        self.socket, self.lifecycle = socket, lifecycle
        self.face_service: FaceService = lifecycle.need_studio()
        self.settings = self.face_service.settings
        self.received = self.answered = self.dropped = 0
        self._options: StreamOptions | None = None
        self._performance: FacePlayer | None = None
        self._newest: Frame | None = None
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        """Until the client leaves. Raises what ended it otherwise: ServiceErrors, or WebSocketDisconnect."""
        started = time.monotonic()
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            logger.info(
                "stream seconds=%.1f received=%d answered=%d dropped=%d",
                time.monotonic() - started, self.received, self.answered, self.dropped,
            )  # fmt: skip

    async def _receive(self) -> None:
        """Take whatever comes, at once: nothing may wait in the socket, where it would grow old unseen."""
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                self._keep(message["bytes"])
            else:
                await self._send(json.dumps(self._obey(parse_message(message.get("text") or ""))))

    def _obey(self, message: StreamOptions | NeutralRequest) -> dict[str, Any]:
        if isinstance(message, StreamOptions):
            self._performance = self._begin(message, self.face_service.find_target(message.target))
            self._options = message
            manifest = self._performance.target.manifest
            return {"target": manifest.target, "image_size": manifest.image_size}
        if self._performance is None or not self._performance.convert:
            raise OptionError(
                "A neutral face serves the conversion, which was not asked for.", "Options with it before."
            )
        self._performance.take_neutral()
        return {"neutral": "taking"}

    def _begin(self, options: StreamOptions, target: Target) -> FacePlayer:
        """A player that begins anew with the face, but knows the same person's neutral face, where it was given."""
        before, neutral = self._performance, None
        same = self._options is not None and self._options.face == options.face
        if same and before is not None and before.neutral is not None:
            neutral = place_neutral([before.neutral], target.manifest)
        return FacePlayer(self.face_service, target, options.face, options.convert, options.smoothing, neutral)

    def _keep(self, data: bytes) -> None:
        if self._options is None:
            raise OptionError("A frame came before the options.", "JSON options in the first message; {} will do.")
        self.received += 1
        if self._newest is not None:
            self.dropped += 1
        self._newest = Frame(self.received, data, time.monotonic())
        self._arrived.set()

    async def _answer(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.settings.stream_idle_seconds):
                    await self._arrived.wait()
            except TimeoutError as error:
                raise IdleError(f"No frame came for {self.settings.stream_idle_seconds:g} seconds.") from error
            self._arrived.clear()
            frame, self._newest = self._newest, None
            assert frame is not None
            assert self._performance is not None
            assert self._options is not None
            target = self.face_service.find_target(self._options.target)
            if target is not self._performance.target:  # its bundle was exchanged: a stream may go on for hours
                self._performance = self._begin(self._options, target)
            watch = Stopwatch()
            answer = await self._play(frame, self._performance, self._options, watch)
            self.answered += 1
            self.socket.app.state.metrics.observe_stages(watch.stages)
            neutral = self._performance.neutral_state
            await self._send(pack_answer(frame, answer, target, self.dropped, watch, neutral))
            self.lifecycle.check_ready()  # a draining service ends its streams: they would go on for ever

    async def _play(self, frame: Frame, player: FacePlayer, options: StreamOptions, watch: Stopwatch) -> Answer:
        if len(frame.data) > self.settings.max_frame_bytes:
            limit = self.settings.max_frame_bytes
            return Answer("refused", reason=f"The frame has {len(frame.data)} bytes; at most {limit} are taken.")
        try:
            with watch.measure("decode"):
                shortest = None if options.paste_back else SHORTEST_SIDE  # pasted into, a frame keeps its size
                image = await self.face_service.in_pool(
                    lambda: decode_picture(frame.data, self.settings.max_frame_pixels, shortest)
                )
        except ImageError as error:
            expected = error.expected if isinstance(error, ServiceError) else None
            return Answer("refused", reason=" ".join(filter(None, (str(error), expected))))
        take = await player.play(image, frame.seconds, watch)
        if take is None:
            return Answer("no-face", reason="No face was found in the frame.")

        output = Output("jpeg", options.size, options.quality, options.label)

        def finish() -> tuple[bytes, int, int]:
            if not options.paste_back:
                return self.face_service.finish_face(take.face.picture, player.target, output)
            pasted = compose("paste-back", image, take.face, take.driver)
            return self.face_service.finish_composite(pasted, player.target, output)

        with watch.measure("encode"):
            data, width, height = await self.face_service.in_pool(finish)
        return Answer("face", data, width, height)

    async def _send(self, message: str | bytes) -> None:
        try:
            async with asyncio.timeout(self.settings.stream_idle_seconds):
                if isinstance(message, str):
                    await self.socket.send_text(message)
                else:
                    await self.socket.send_bytes(message)
        except TimeoutError as error:  # its buffers are full: no problem could be sent either
            raise WebSocketDisconnect(reason="The client does not read.") from error


def parse_message(text: str) -> StreamOptions | NeutralRequest:
    """The JSON of a text message. Raises OptionError."""
    expected = (
        f"JSON, at most {MAX_OPTIONS} characters, with any of: {', '.join(StreamOptions.model_fields)}; "
        'or {"neutral": "take"}.'
    )
    if len(text) > MAX_OPTIONS:
        raise OptionError(f"The options are {len(text)} characters long.", expected)
    try:
        return NeutralRequest.model_validate_json(text)
    except ValidationError:  # the usual message
        pass
    try:
        options = StreamOptions.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'all'}: {each['msg']}" for each in error.errors()[:SHOWN_ERRORS]
        )
        raise OptionError(f"The options are not valid: {wrong[:SHOWN_CHARACTERS]}", expected) from error
    if options.paste_back and options.size is not None:
        raise OptionError("A pasted-back picture keeps the size of the frame.", "'size' or 'paste_back'.")
    return options


def pack_answer(
    frame: Frame, answer: Answer, target: Target, dropped: int, watch: Stopwatch, neutral: NeutralState
) -> bytes:
    """The length of the header as 4 bytes, big-endian; the header, JSON in UTF-8; the picture."""
    header: dict[str, Any] = {
        "frame": frame.number,
        "state": answer.state,
        "dropped": dropped,
        "neutral": neutral,
        "timings_ms": to_milliseconds(watch.stages),
        "total_ms": round((time.monotonic() - frame.seconds) * 1000, 3),
    }
    if answer.reason is not None:
        header["reason"] = answer.reason
    if answer.data:
        header |= {"width": answer.width, "height": answer.height, "bundle": target.bundle}
    encoded = json.dumps(header).encode("ascii")
    return struct.pack(">I", len(encoded)) + encoded + answer.data


def unpack_answer(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the picture of an answer: the inverse of `pack_answer`, for clients."""
    (length,) = struct.unpack_from(">I", message)
    header: dict[str, Any] = json.loads(message[4 : 4 + length])
    return header, message[4 + length :]


async def close_with_problem(socket: WebSocket, problem: ProblemResponse) -> None:
    """Say what was wrong, in a text message and as the reason of the close."""
    text = bytes(problem.body).decode("ascii")
    reason = str(json.loads(text)["detail"]).encode()[:MAX_REASON].decode(errors="ignore")
    try:
        await socket.send_text(text)
        await socket.close(CLOSE_BASE + problem.status_code, reason)
    except (WebSocketDisconnect, RuntimeError):  # it has gone
        pass
