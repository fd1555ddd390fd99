"""The target as a camera for OBS, and for whatever else takes one: this machine's camera in, a virtual camera out.

    .venv/bin/python docs/virtual_camera.py --target franck

`make serve` runs in another terminal. `pip install -c constraints.txt -e '.[camera]'` brings pyvirtualcam, which wants
OBS's virtual camera on Windows and macOS, and on Linux the kernel module v4l2loopback.
"""

import argparse
import io
import json
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pyvirtualcam
from PIL import Image
from websockets.sync.client import ClientConnection, connect

# FFmpeg's name for cameras, and of the first one.
CAMERAS = {
    "linux": ("v4l2", "/dev/video0"),
    "darwin": ("avfoundation", "0"),
    "win32": ("dshow", "video=Integrated Camera"),
}
RATE = 30


class NewestFrame:
    """Reads a camera, or a video file, in a thread, and keeps its newest frame: older ones would only be late."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._frame: bytes | None = None
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        """Frames as JPEG, until the source ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._ended)
                frame, self._frame = self._frame, None
            if frame is None:
                return
            yield frame

    def _read(self) -> None:
        kind, options = None, {}
        if not Path(self.source).is_file():
            kind, options = CAMERAS[sys.platform][0], {"video_size": "640x480", "framerate": str(RATE)}
        try:
            with av.open(self.source, format=kind, options=options) as container:
                for frame in container.decode(video=0):
                    file = io.BytesIO()
                    frame.to_image().save(file, "JPEG", quality=85)
                    with self._changed:
                        self._frame = file.getvalue()
                        self._changed.notify()
        except av.FFmpegError as error:
            print(f"{self.source} can't be read: {error}", file=sys.stderr)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()


def show_answer(stream: ClientConnection, camera: pyvirtualcam.Camera) -> None:
    """Wait for an answer; its picture goes to the camera, which shows the last one where there is none."""
    answer = stream.recv()
    (length,) = struct.unpack_from(">I", answer)
    picture = answer[4 + length :]
    if picture:
        camera.send(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")))


def play(address: str, options: dict[str, object], source: str, size: int) -> None:
    """Until the source ends. Two frames are in flight, so that the service never waits for the next one."""
    with connect(f"{address}/stream", compression=None) as stream, pyvirtualcam.Camera(size, size, RATE) as camera:
        stream.send(json.dumps(options | {"size": size}))
        print(stream.recv(), f"on {camera.device}")
        waiting = 0
        for frame in NewestFrame(source):
            stream.send(frame)
            waiting += 1
            if waiting == 2:
                show_answer(stream, camera)
                waiting -= 1
        for _ in range(waiting):
            show_answer(stream, camera)


def main() -> int:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="franck", help="id of a target (default: franck)")
    parser.add_argument(
        "--camera", default=CAMERAS.get(sys.platform, ("", ""))[1], help="FFmpeg's name, or a video file"
    )
    parser.add_argument("--address", default="ws://127.0.0.1:8000", help="of the service")
    parser.add_argument("--size", type=int, default=512, help="pixels a side, 16 to 1024 (default: 512)")
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        play(given.address, {"target": given.target}, given.camera, given.size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
