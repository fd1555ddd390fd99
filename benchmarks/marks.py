"""``python -m benchmarks.marks``: how faint the watermark is, what it withstands, and what marking costs.

200 faces of the committed targets, and 200 frames of the sample media (`make data`) as they are and as pictures that a
face was pasted into would be marked. Bit accuracy is that of the 48 bits before correction.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np
from PIL import Image

from service.inference.bundles import BundleFolder, Target
from service.media.images import MEDIA_TYPES, decode_picture, encode_picture, read_packet
from service.provenance.credentials import CredentialSigner, read_credentials
from service.provenance.origin import Origin
from service.provenance.trial_certificate import write_pair
from service.provenance.watermark import embed_watermark, encode_bits, measure_bits, read_watermark
from service.provenance.xmp import make_xmp, read_xmp
from shared.animation import DrivingFace
from shared.pixels import Image8

Attack = Callable[[Sequence[Image8]], list[Image8]]

MAX_PIXELS = 40_000_000
CLIP_FRAMES = 20


def draw_faces(targets: Sequence[Target], count: int) -> list[Image8]:
    """So many faces of the targets: their presets, and what lies between two of them."""
    rng = np.random.default_rng(0)
    pictures: list[Image8] = []
    for target in targets:
        presets = np.array(list(target.manifest.presets.values()), np.float32)  # (P, N, 2)
        for _ in range(-(-count // len(targets))):
            first, second = rng.choice(len(presets), 2)
            share = np.float32(rng.random())
            points = presets[first] * share + presets[second] * (1 - share)
            pictures.append(target.animator.animate([DrivingFace(points, convert=False)])[0].picture)
    return pictures[:count]


def read_frames(media: Path, count: int) -> list[Image8]:
    """So many frames of the folder's clips, evenly spaced."""
    clips = sorted(media.glob("*.mp4"))
    each = -(-count // max(1, len(clips)))
    return [frame for clip in clips for frame in islice(_step_through(clip, each), each)][:count]


def _step_through(clip: Path, count: int) -> Iterator[Image8]:
    with av.open(str(clip)) as container:
        step = max(1, container.streams.video[0].frames // count)
        for number, frame in enumerate(container.decode(video=0)):
            if number % step == 0:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def change_each(change: Callable[[Image8], Image8]) -> Attack:
    """The same change of every picture."""
    return lambda pictures: [change(picture) for picture in pictures]


def save(kind: str, quality: int) -> Callable[[Image8], Image8]:
    """A copy as a JPEG or WebP."""

    def copy(picture: Image8) -> Image8:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind, quality=quality)
        return decode_picture(buffer.getvalue(), MAX_PIXELS)

    return copy


def resize(share: float) -> Callable[[Image8], Image8]:
    """A copy of another size."""
    return lambda picture: np.asarray(
        Image.fromarray(picture).resize((round(picture.shape[1] * share), round(picture.shape[0] * share)))
    )


def crop(share: float) -> Callable[[Image8], Image8]:
    """A copy without so much of each side."""

    def cut(picture: Image8) -> Image8:
        down, right = round(picture.shape[0] * share), round(picture.shape[1] * share)
        return picture[down : picture.shape[0] - down, right : picture.shape[1] - right]

    return cut


def film(crf: str) -> Attack:
    """As H.264, in clips of frames of one size."""

    def encode(pictures: Sequence[Image8]) -> list[Image8]:
        frames: list[Image8] = []
        for shape in sorted({picture.shape for picture in pictures}):
            alike = [picture for picture in pictures if picture.shape == shape]
            for start in range(0, len(alike), CLIP_FRAMES):
                frames += _encode_clip(alike[start : start + CLIP_FRAMES], crf)
        return frames

    return encode


def _encode_clip(pictures: Sequence[Image8], crf: str) -> list[Image8]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": crf})
        height, width = (side - side % 2 for side in pictures[0].shape[:2])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer, "r") as clip:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in clip.decode(video=0)]


ATTACKS: dict[str, Attack] = {
    "as it is": list,
    "JPEG 75": change_each(save("JPEG", 75)),
    "JPEG 50": change_each(save("JPEG", 50)),
    "WebP 75": change_each(save("WEBP", 75)),
    "75 % size": change_each(resize(0.75)),
    "75 % size, JPEG 75": lambda pictures: [save("JPEG", 75)(resize(0.75)(picture)) for picture in pictures],
    "mirrored": change_each(lambda picture: picture[:, ::-1]),
    "1 % off each side": change_each(crop(0.01)),
    "2 % off each side": change_each(crop(0.02)),
    "H.264, crf 20": film("20"),
    "H.264, crf 28": film("28"),
}


def measure_psnr(first: Image8, second: Image8) -> float:
    """Decibels."""
    return float(10 * np.log10(255**2 / ((first.astype(np.float64) - second) ** 2).mean()))


def print_robustness(faces: Sequence[Image8], frames: Sequence[Image8]) -> None:
    """The table of attacks."""
    bits = encode_bits("composite", "franck")
    kinds = [[embed_watermark(picture, "composite", "franck") for picture in each] for each in (faces, frames)]
    for name, plain, marked in zip(("faces", "frames"), (faces, frames), kinds, strict=True):
        decibels = [measure_psnr(*pair) for pair in zip(plain, marked, strict=True)]
        print(f"PSNR of the mark, {len(plain)} {name}: {np.mean(decibels):.1f} dB, at worst {min(decibels):.1f}")
        false = sum(read_watermark(picture) is not None for picture in plain)
        print(f"found in {false} of {len(plain)} {name} that carry none")
    print("\n| | faces, found | bits right | pasted into frames, found | bits right |\n| --- | --- | --- | --- | --- |")
    for name, attack in ATTACKS.items():
        row = []
        for marked in kinds:
            attacked = attack(marked)
            found = np.mean([read_watermark(picture) is not None for picture in attacked])
            flip = slice(None, None, -1 if name == "mirrored" else 1)
            right = np.mean([(measure_bits(picture[:, flip]) == bits).mean() for picture in attacked])
            row += [f"{100 * found:.1f} %", f"{100 * right:.1f} %"]
        print(f"| {name} | {' | '.join(row)} |", flush=True)


def print_formats(faces: Sequence[Image8], target: Target, signer: CredentialSigner) -> None:
    """What is found in files of each format, and what each mark costs."""
    origin = Origin.of(target)
    print("\n| file | watermark | metadata | credentials valid | watermark, ms | C2PA, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for wanted, media_type in MEDIA_TYPES.items():
        seen, spent = np.zeros(3), []
        for face in faces:
            times = [time.perf_counter()]
            marked = embed_watermark(face, origin.kind, origin.target)
            times.append(time.perf_counter())
            data = encode_picture(marked, wanted, xmp=make_xmp(origin))
            times.append(time.perf_counter())
            signed = signer.sign(data, media_type, origin)
            times.append(time.perf_counter())
            mark, xmp, stages = read_watermark(decode_picture(signed, MAX_PIXELS)), read_packet(signed), np.diff(times)
            credentials, metadata = read_credentials(signed, media_type), read_xmp(xmp)
            valid = credentials is not None and credentials.state == "Valid" and credentials.bundle == target.bundle
            seen += (mark is not None, metadata is not None and metadata.synthetic, valid)
            spent.append((stages[0], stages[2]))
        shares = " | ".join(f"{100 * share:.0f} %" for share in seen / len(faces))
        costs = " | ".join(f"{1000 * cost:.2f}" for cost in np.median(spent, axis=0))
        print(f"| {wanted} | {shares} | {costs} |", flush=True)


def main() -> int:
    """Print the figures. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marks", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--media", type=Path, default=Path("data/media"), help="folder of clips (default: data/media)")
    parser.add_argument("--count", type=int, default=200, help="pictures of each kind (default: 200)")
    parser.add_argument("--pair", type=Path, default=Path("runs/c2pa"), help="where the trial certificate is written")
    options = parser.parse_args()
    targets = list(BundleFolder(options.models, "cpu", 2).scan().targets.values())
    frames = read_frames(options.media, options.count)
    if not targets or not frames:
        print("There are no bundles, or no sample media; `make data` fetches them.", file=sys.stderr)
        return 1
    faces = draw_faces(targets, options.count)
    print_robustness(faces, frames)
    print_formats(faces, targets[0], CredentialSigner(*write_pair(options.pair), "es256"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
