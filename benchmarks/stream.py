"""``python -m benchmarks.stream``: frames a second of /stream, and the memory of video jobs on a short and a long clip.

A face on a 640x480 picture is sent as JPEG over a real WebSocket to a service in its own process, two frames in flight,
as the page does. The CPU time of a frame is measured beside it, without sockets: it does not change where other work
shares the cores, as frames a second do. The clips are made of the same frames; the shell command turns them into video.
"""

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from websockets.sync.client import connect

from service.api.stream_messages import unpack_answer
from service.inference.face_player import FacePlayer
from service.inference.face_service import Output, Stopwatch
from service.lifecycle import load_face_service
from service.media.images import decode_picture
from service.settings import Settings
from trainer.evaluation.served_faces import serve

WIDTH, HEIGHT, FACE = 640, 480, 300
STEPS = 50
IN_FLIGHT = 2


def draw_frames(reference: Path) -> list[Image.Image]:
    """A face that sways before a grey wall, one period."""
    with Image.open(reference) as picture:
        face = picture.convert("RGB").resize((FACE, FACE), Image.Resampling.LANCZOS)
    frames = []
    for step in range(STEPS):
        frame = Image.new("RGB", (WIDTH, HEIGHT), (120, 124, 118))
        frame.paste(face, (170 + round(60 * np.sin(2 * np.pi * step / STEPS)), 90))
        frames.append(frame)
    return frames


def encode_frames(frames: Sequence[Image.Image]) -> list[bytes]:
    """Each as the page sends it."""
    files = [io.BytesIO() for _ in frames]
    for frame, file in zip(frames, files, strict=True):
        frame.save(file, "JPEG", quality=85)
    return [file.getvalue() for file in files]


def time_stream(address: str, target: str, frames: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Frames a second, and medians of each stage in milliseconds."""
    source, headers = cycle(frames), []
    with connect(address.replace("http", "ws", 1) + "/stream", compression=None) as socket:
        socket.send(json.dumps({"target": target}))
        socket.recv()
        sent = 0

        def fill(answered: int) -> None:  # frames up to this number are answered, or were dropped
            nonlocal sent
            while sent - answered < IN_FLIGHT:
                socket.send(next(source))
                sent += 1

        def receive() -> dict[str, Any]:
            message = socket.recv()
            assert isinstance(message, bytes)
            header = unpack_answer(message)[0]
            fill(header["frame"])
            return header

        fill(0)
        receive()  # the first frame is searched whole, and does not count
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            headers.append(receive())
        passed = time.perf_counter() - started
    if any(header["state"] != "face" for header in headers):
        raise SystemExit("The face was not found in every frame; these figures would mean nothing.")
    stages = {
        stage: float(np.median([each["timings_ms"][stage] for each in headers])) for stage in headers[0]["timings_ms"]
    }
    total = float(np.median([header["total_ms"] for header in headers]))
    return {"frames a second": len(headers) / passed, "arrival to answer": total} | stages


async def measure_work(models: Path, threads: int, target: str, frames: Sequence[bytes]) -> float:
    """CPU seconds of one frame of a stream, all threads together."""
    settings = Settings(models_dir=models, threads=threads)
    face_service = load_face_service(settings, None)
    player = FacePlayer(face_service, face_service.find_target(target))

    async def play(number: int) -> None:
        image = decode_picture(frames[number], settings.max_frame_pixels)
        take = await player.play(image, number / 25, Stopwatch())
        assert take is not None
        face_service.finish_face(take.face.picture, player.target, Output())

    await play(0)
    started = time.process_time()
    for number in range(1, len(frames)):
        await play(number)
    spent = (time.process_time() - started) / (len(frames) - 1)
    await asyncio.to_thread(face_service.close)
    return spent


def write_clip(path: Path, frames: Sequence[Image.Image], count: int) -> None:
    """So many frames in a row, at 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for _, frame in zip(range(count), cycle(frames), strict=False):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode())


def measure_memory(models: Path, target: str, clip: Path) -> tuple[float, float]:
    """Peak memory in MiB of the command on a clip in its own process, and seconds."""
    output = clip.with_name("out.mp4")
    command = [sys.executable, "-m", "service.reenact_video", clip, "--target", target, "-o", output]
    command += ["--layout", "paste-back", "--overwrite"]
    started = time.perf_counter()
    environment = os.environ | {"LANDMARKGAN_MODELS_DIR": str(models), "TQDM_DISABLE": "1"}
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("The command failed; its log is above.")
    return usage.ru_maxrss / 1024, time.perf_counter() - started


def main() -> int:
    """Print the figures. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--target", default="franck", help="target to play (default: franck)")
    parser.add_argument("--seconds", type=float, default=20, help="of the stream (default: 20)")
    parser.add_argument("--frames", type=int, default=100, help="of the short clip; the long one has ten times as many")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    options = parser.parse_args()
    models = options.models.resolve()

    pictures = draw_frames(models / options.target / "reference.jpg")
    frames = encode_frames(pictures)
    print(f"{options.threads} threads; load of the machine in the last minute {os.getloadavg()[0]:.1f}")
    spent = asyncio.run(measure_work(models, options.threads, options.target, frames))
    print(f"\n/stream, {WIDTH}x{HEIGHT}\n{'CPU time a frame':20}{1000 * spent:8.1f} ms")
    with serve(models, options.threads) as served:
        for name, value in time_stream(str(served.client.base_url), options.target, frames, options.seconds).items():
            print(f"{name:20}{value:8.1f}{'' if name == 'frames a second' else ' ms'}")
    print("\nvideo, pasted back")
    with tempfile.TemporaryDirectory() as folder:
        for count in (options.frames, 10 * options.frames):
            clip = Path(folder) / f"{count}.mp4"
            write_clip(clip, pictures, count)
            mebibytes, seconds = measure_memory(models, options.target, clip)
            print(f"{count:6} frames: at most {mebibytes:6.0f} MiB, {count / seconds:5.1f} frames a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
