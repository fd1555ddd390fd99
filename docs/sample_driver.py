"""``python -m docs.sample_driver``: the clip that /live plays for who has no camera, made of a bundle's own faces.

Nobody was filmed for it: the target cap goes from one of its presets to the next, as POST /animate makes it, with a
label that people see.
"""

import sys
import tempfile
import time
from pathlib import Path

import av
import httpx
import numpy as np

from trainer.evaluation.served_faces import serve

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "service" / "web" / "live" / "sample.webm"
DRIVER = "cap"
RATE = 25
# Preset, and seconds until the next one begins to be reached; the last is the first, so that the clip can go round.
ROW = [
    ("neutral", 0.6),
    ("smile", 0.9),
    ("look_left", 1.0),
    ("open_mouth", 0.5),
    ("neutral", 0.4),
    ("open_mouth", 0.5),
    ("brows_up", 0.8),
    ("look_right", 1.0),
    ("tilt_left", 0.8),
    ("smile", 0.8),
    ("tilt_right", 0.9),
    ("look_up", 0.9),
    ("neutral", 0.0),
]


def make_film(client: httpx.Client) -> bytes:
    """The film as MP4."""
    presets = client.get(f"/targets/{DRIVER}/presets").raise_for_status().json()
    starts = np.cumsum([0.0, *(seconds for _, seconds in ROW)])
    keyframes = [
        {"seconds": float(at), "landmarks": presets[name], "convert": False, "units": "crop"}
        for (name, _), at in zip(ROW, starts, strict=False)
    ]
    order = {"target": DRIVER, "rate": RATE, "blinks": True, "label": "visible", "keyframes": keyframes}
    job = client.post("/animate", json=order).raise_for_status().json()
    while job["state"] in ("waiting", "running"):
        time.sleep(0.2)
        job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
    if job["result"] is None:
        raise RuntimeError(f"The film failed: {job['error']}")
    return client.get(job["result"]).raise_for_status().content


def write_webm(film: bytes, path: Path) -> None:
    """The same in a format that every browser plays."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "film.mp4"
        source.write_bytes(film)
        with av.open(source) as container, av.open(path, "w") as result:
            stream = result.add_stream("libvpx-vp9", rate=RATE, options={"crf": "34", "b": "0", "cpu-used": "1"})
            source_stream = container.streams.video[0]
            stream.width, stream.height, stream.pix_fmt = source_stream.width, source_stream.height, "yuv420p"
            for frame in container.decode(source_stream):
                result.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")))
            result.mux(stream.encode())


def main() -> int:
    """Write the clip. Returns the exit status."""
    with serve(ROOT / "models") as served:
        write_webm(make_film(served.client), RESULT)
    print(f"{RESULT.relative_to(ROOT)}: {RESULT.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
