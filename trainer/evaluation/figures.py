"""Figures of pictures in rows: whose frames they show, what a bundle makes of these, and how they are laid out.

Bundles are run as the service runs them, on frames of the test block alone. The frames are chosen by what the face
does, so that no hand picks those that came out well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.animation import Animator, DrivingFace
from shared.bundle import BundleManifest, OnnxFile, read_bundle
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.neutral import find_neutral
from shared.pixels import Image8
from trainer.data.dataset import FrameDataset

CELL, GUTTER, LINE = 128, 16, 20
"""Pixels: a picture's side, the space between panels, a line of text."""

PAPER, INK, STROKE, MOVED = (255, 255, 255), (30, 30, 30), (0, 80, 160), (210, 30, 30)
SUPERSAMPLE = 4
MOST_BYTES = 250_000
VISIBLE = 0.004
"""Crop units, half a pixel of a cell: what moved by less is drawn as if it had not."""

# (what the column shows, of which measures the mean, at which quantile of the test block). Not the very extreme, which
# is where a detector's slips lie.
COLUMNS = (
    ("mouth most shut", ("mouth",), 0.02),
    ("mouth most open", ("mouth",), 0.99),
    ("most to the left", ("yaw",), 0.02),
    ("most to the right", ("yaw",), 0.98),
    ("eyes most shut", ("right_eye", "left_eye"), 0.01),
)


@dataclass(frozen=True)
class Driver:
    """A person's chosen test frames; `neutral` is told by frames that are not among these."""

    name: str  # for people
    scheme: Scheme
    points: Points  # (C, N, 2) pixels of the frames
    frames: Image8  # (C, S, S, 3) as the dataset cropped them
    neutral: Points  # (N, 2) crop units


@dataclass(frozen=True)
class Actor(Driver):
    """A target: its bundle besides."""

    manifest: BundleManifest
    animator: Animator


@dataclass(frozen=True)
class Panel:
    """A title over rows of pictures (R, C, CELL, CELL, 3); each row and each column has a label."""

    title: str
    columns: Sequence[str]
    labels: Sequence[str]
    rows: Image8


def open_driver(dataset: FrameDataset, chosen: Sequence[int] | None = None) -> Driver:
    """Some of a dataset's test frames, counted from the first; else those that the columns ask for."""
    if chosen is None:
        chosen = choose_frames(measure_expression(dataset.landmarks("test"), dataset.scheme))
    points, frames = dataset.points("test")[list(chosen)], dataset.crops("test")[list(chosen)]
    known = dataset.landmarks("train")
    if not len(known):  # somebody who drives, and is no target
        known = np.delete(dataset.landmarks("test"), list(chosen), axis=0)
    neutral = find_neutral(known, dataset.scheme)
    return Driver(dataset.manifest.display_name, dataset.scheme, points, frames, neutral)


def open_actor(name: str, data_dir: Path, models_dir: Path) -> Actor:
    """A target's bundle, and its test frames."""
    manifest, driver = read_bundle(models_dir / name), open_driver(FrameDataset(data_dir / name))
    animator = open_animator(models_dir / name, manifest)
    return Actor(manifest.display_name, driver.scheme, driver.points, driver.frames, driver.neutral, manifest, animator)


def choose_frames(measured: Mapping[str, NDArray[np.floating]]) -> list[int]:
    """For each column, the frame whose measure is nearest to the column's quantile of all."""
    chosen = []
    for _, names, quantile in COLUMNS:
        values = np.mean([measured[name] for name in names], axis=0)  # (n,)
        chosen.append(int(np.argmin(np.abs(values - np.quantile(values, quantile)))))
    return chosen


def name_columns() -> list[str]:
    """What the columns show."""
    return [label for label, _, _ in COLUMNS]


def list_driving(driver: Driver, target: Actor, convert: bool = True, calibrate: bool = False) -> list[DrivingFace]:
    """The driver's frames as the service hands them to the target's networks, with its neutral shape if asked."""
    placed = place_points(driver.points, driver.scheme, target.manifest)
    neutral = place_points(driver.neutral[None], driver.scheme, target.manifest)[0] if calibrate else None
    return [DrivingFace(points, convert, neutral) for points in placed]


def place_points(points: Points, scheme: Scheme, manifest: BundleManifest) -> Points:
    """Landmarks (C, N, 2) of any place and size in a target's scheme and crop units, as the service places them."""
    points = convert_scheme(points, scheme, get_scheme(manifest.scheme))
    return np.stack([find_crop(face, manifest.crop).to_unit(face) for face in points])


def draw_faces(target: Actor, faces: Sequence[DrivingFace], size: int = CELL) -> tuple[Points, Image8]:
    """What the target makes of driving faces: landmarks (C, N, 2) and pictures (C, size, size, 3)."""
    made = [target.animator.animate([face])[0] for face in faces]
    return np.stack([each.points for each in made]), fit_cells(np.stack([each.picture for each in made]), size)


def open_animator(folder: Path, manifest: BundleManifest) -> Animator:
    """A bundle's networks on the CPU, in the one way from landmarks to a face."""

    def open_network(spec: OnnxFile) -> Callable[[Points], NDArray[np.float32]]:
        session = ort.InferenceSession(folder / spec.file, providers=["CPUExecutionProvider"])

        def run(batch: Points) -> NDArray[np.float32]:
            output: NDArray[np.float32] = session.run([spec.output.name], {spec.input.name: batch})[0]
            return output

        return run

    return Animator(manifest, open_network(manifest.converter), open_network(manifest.tl2f))


def draw_landmarks(points: Points, scheme: Scheme, before: Points | None = None) -> Image8:
    """Landmarks ``(N, 2)`` in crop units as strokes and dots, ``(CELL, CELL, 3)``; red where not as `before`."""
    size = CELL * SUPERSAMPLE
    picture = Image.new("RGB", (size, size), PAPER)
    pen = ImageDraw.Draw(picture)
    places = [(float(x) * size, float(y) * size) for x, y in points]
    for indices, closed in scheme.strokes:
        path = [places[index] for index in indices]
        pen.line([*path, path[0]] if closed else path, fill=STROKE, width=SUPERSAMPLE, joint="curve")
    moved = np.zeros(len(points), bool) if before is None else np.linalg.norm(points - before, axis=1) > VISIBLE
    for place, edited in zip(places, moved, strict=True):
        pen.circle(place, 1.3 * SUPERSAMPLE, fill=MOVED if edited else INK)
    return np.asarray(picture.resize((CELL, CELL), Image.Resampling.LANCZOS))


def fit_cells(pictures: Image8, size: int = CELL) -> Image8:
    """Pictures ``(C, S, S, 3)`` at the size of a cell."""
    resized = [Image.fromarray(each).resize((size, size), Image.Resampling.LANCZOS) for each in pictures]
    return np.stack([np.asarray(each) for each in resized])


def lay_out(panels: Sequence[Panel], across: int = 2) -> Image.Image:
    """The panels, so many in a row, with their texts."""
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    margin = LINE + round(max(small.getlength(label) for panel in panels for label in panel.labels))
    width = margin + max(len(panel.columns) for panel in panels) * CELL + GUTTER
    across = min(across, len(panels))
    bands = [panels[start : start + across] for start in range(0, len(panels), across)]
    heights = [2 * LINE + max(len(panel.rows) for panel in band) * CELL + GUTTER for band in bands]
    figure = Image.new("RGB", (across * width, sum(heights)), PAPER)
    pen = ImageDraw.Draw(figure)
    for number, panel in enumerate(panels):
        left, top = number % across * width + margin, sum(heights[: number // across]) + 2 * LINE
        pen.text((left, top - 2 * LINE), panel.title, INK, large)
        for column, label in enumerate(panel.columns):
            pen.text((left + (column + 0.5) * CELL, top - 4), label, INK, small, anchor="ms")
        for row, (label, cells) in enumerate(zip(panel.labels, panel.rows, strict=True)):
            pen.text((left - 6, top + (row + 0.5) * CELL), label, INK, small, anchor="rm")
            figure.paste(Image.fromarray(np.concatenate(list(cells), axis=1)), (left, top + row * CELL))
    return figure


def save_figure(figure: Image.Image, path: Path, most_bytes: int = MOST_BYTES) -> int:
    """Write a JPEG at the best quality that fits, down to 50; its size in bytes."""
    for quality in range(92, 49, -6):
        buffer = BytesIO()
        figure.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= most_bytes:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return buffer.tell()
