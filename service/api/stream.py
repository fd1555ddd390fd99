"""WebSocket /stream: frames of a camera in, the target's face out, as fast as it goes and no later.

The client sends its options as JSON, then pictures. At most two frames are in work, one followed while the other is
drawn; meanwhile only the newest of those that arrive is kept and the others are dropped and counted, so that an answer
is never older than three frames' work. docs/stream.md is the protocol.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from service.api.admission import REFUSED
from service.api.problems import ProblemResponse, answer_error, answer_unforeseen
from service.api.stream_messages import Answer, Frame, NeutralRequest, StreamOptions, pack_answer, parse_message
from service.errors import IdleError, OptionError, QueueFullError, ServiceError
from service.inference.bundles import Target
from service.inference.face_player import FacePlayer, FoundFrame, compose
from service.inference.face_service import FaceService, Output, Stopwatch
from service.inference.synthesis import place_neutral
from service.lifecycle import Lifecycle
from service.media.images import decode_picture
from shared.errors import ImageError, LandmarkGANError
from shared.pixels import Image8

logger = logging.getLogger(__name__)

router = APIRouter()

CLOSE_BASE = 4000  # close codes are the problem's HTTP status, moved into the range that applications may use
MAX_REASON = 123  # bytes of a close frame's reason
FRAMES_IN_WORK = 2
SHORTEST_SIDE = 480  # pixels of a frame's shorter side that landmarks are found in; the detectors see 192 of a face


@dataclass(frozen=True)
class FrameInWork:
    """A frame that was looked at: what was seen in it, to be drawn for this player; or its answer already."""

    frame: Frame
    player: FacePlayer
    options: StreamOptions
    watch: Stopwatch
    image: Image8 | None
    seen: FoundFrame | Answer


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
    """One connection: `run` receives, looks and answers side by side."""

    def __init__(self, socket: WebSocket, lifecycle: Lifecycle) -> None:
        self.socket, self.lifecycle = socket, lifecycle
        self.face_service: FaceService = lifecycle.need_face_service()
        self.settings = self.face_service.settings
        self.received = self.answered = self.dropped = 0
        self._options: StreamOptions | None = None
        self._performance: FacePlayer | None = None
        self._newest: Frame | None = None
        self._arrived = asyncio.Event()
        self._room = asyncio.Semaphore(FRAMES_IN_WORK)
        self._seen: asyncio.Queue[FrameInWork] = asyncio.Queue()

    async def run(self) -> None:
        """Until the client leaves. Raises what ended it otherwise: ServiceErrors, or WebSocketDisconnect."""
        started = time.monotonic()
        tasks = [asyncio.create_task(each) for each in (self._receive(), self._look(), self._answer())]
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

    async def _look(self) -> None:
        """Take the newest frame whenever there is room for one, and look for the face in it."""
        while True:
            await self._room.acquire()
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
            await self._seen.put(await self._follow(frame, self._performance, self._options))

    async def _answer(self) -> None:
        """Draw what was seen and answer, frame by frame, while the next one is looked at."""
        while True:
            work = await self._seen.get()
            answer = work.seen if isinstance(work.seen, Answer) else await self._draw(work, work.seen)
            self.answered += 1
            self.socket.app.state.metrics.observe_stages(work.watch.stages)
            neutral, target = work.player.neutral_state, work.player.target
            await self._send(pack_answer(work.frame, answer, target, self.dropped, work.watch, neutral))
            self._room.release()
            self.lifecycle.check_ready()  # a draining service ends its streams: they would go on for ever

    async def _follow(self, frame: Frame, player: FacePlayer, options: StreamOptions) -> FrameInWork:
        watch, image = Stopwatch(), None
        if len(frame.data) > self.settings.max_frame_bytes:
            limit = self.settings.max_frame_bytes
            seen: FoundFrame | Answer = Answer(
                "refused", reason=f"The frame has {len(frame.data)} bytes; at most {limit} are taken."
            )
            return FrameInWork(frame, player, options, watch, None, seen)
        try:
            with watch.measure("decode"):
                shortest = None if options.paste_back else SHORTEST_SIDE  # pasted into, a frame keeps its size
                image = await self.face_service.in_pool(
                    lambda: decode_picture(frame.data, self.settings.max_frame_pixels, shortest)
                )
            found = await player.follow(image, frame.seconds, watch)
            seen = found or Answer("no-face", reason="No face was found in the frame.")
        except ImageError as error:
            expected = error.expected if isinstance(error, ServiceError) else None
            seen = Answer("refused", reason=" ".join(filter(None, (str(error), expected))))
        return FrameInWork(frame, player, options, watch, image, seen)

    async def _draw(self, work: FrameInWork, found: FoundFrame) -> Answer:
        options, target, image = work.options, work.player.target, work.image
        assert image is not None
        output = Output("jpeg", options.size, options.quality, options.label)
        take = await work.player.draw(found, work.watch)

        def finish() -> tuple[bytes, int, int]:
            if not options.paste_back:
                return self.face_service.finish_face(take.face.picture, target, output)
            pasted = compose("paste-back", image, take.face, take.driver)
            return self.face_service.finish_composite(pasted, target, output)

        with work.watch.measure("encode"):
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


async def close_with_problem(socket: WebSocket, problem: ProblemResponse) -> None:
    """Say what was wrong, in a text message and as the reason of the close."""
    text = bytes(problem.body).decode("ascii")
    reason = str(json.loads(text)["detail"]).encode()[:MAX_REASON].decode(errors="ignore")
    try:
        await socket.send_text(text)
        await socket.close(CLOSE_BASE + problem.status_code, reason)
    except (WebSocketDisconnect, RuntimeError):  # it has gone
        pass
