"""``python networks.py MODELS TARGET THREADS MEDIA``: networks of one checkout, timed whenever standard input says so.

Run as a script with that checkout as PYTHONPATH, so that this file's code times another release's. MEDIA is a folder of
frames, ``*.jpg``, and a clip for the training's scan, ``clip.mp4``. Each line in is JSON, ``[row, calls]``; each line
out is JSON, ``[[milliseconds, …], CPU milliseconds a call]``. Nothing of `benchmarks` is imported here: the other
release has its own.
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from service.inference.bundles import BundleFolder
from shared.detectors import load_detector
from shared.detectors.tracker import FaceTracker
from trainer.data.scan import scan_source
from trainer.data.sources import VideoSource

SETTLING = 3  # calls before the first that count


def load_rows(models: Path, target_id: str, threads: int, media: Path) -> dict[str, Callable[[], object]]:
    """Row -> one call of it."""
    target = BundleFolder(models, "cpu", threads).scan().targets[target_id]
    neutral = np.array(target.manifest.neutral, np.float32)[None]  # (1, N, 2)
    detector = load_detector("mesh", models, threads)
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(media.glob("*.jpg"))]
    portrait = np.asarray(Image.open(models / target_id / target.manifest.reference.file).convert("RGB"))
    tracker, film = FaceTracker(detector), cycle(pictures)
    return {
        "tracked": lambda: tracker.find(next(film)),
        "fresh": lambda: detector.detect(portrait),
        "generator": lambda: target.tl2f.run(neutral),
        "converter": lambda: target.converter.run(neutral),
        "scan": lambda: scan_source(VideoSource([media / "clip.mp4"]), detector, "scan"),
    }


def main() -> int:
    """Answer until standard input ends."""
    models, target_id, threads, media = sys.argv[1:]
    rows = load_rows(Path(models), target_id, int(threads), Path(media))
    for call in rows.values():
        for _ in range(SETTLING):
            call()
    print("ready", flush=True)
    for line in sys.stdin:
        row, calls = json.loads(line)
        spent, started = [], time.process_time()
        for _ in range(calls):
            begun = time.perf_counter()
            rows[row]()
            spent.append((time.perf_counter() - begun) * 1000)
        print(json.dumps([spent, (time.process_time() - started) * 1000 / calls]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
