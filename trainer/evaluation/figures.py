"""Figures of pictures in rows, and the README's: held-out frames, their landmarks, what the bundles make of them.

It shows committed bundles as the service runs them, on frames of the test block alone. The frames are chosen by what
the face does, so that no hand picks those that came out well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import permutations
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.bundle import BundleManifest, OnnxFile, read_bundle
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.pixels import Image8, from_network
from trainer.data.dataset import FrameDataset

CELL, GUTTER, LINE = 128, 16, 20
"""Pixels: a picture's side, the space between panels, a line of text."""

PAPER, INK, STROKE, MOVED = (255, 255, 255), (30, 30, 30), (0, 80, 160), (210, 30, 30)
SUPERSAMPLE = 4
MOST_BYTES = 400_000
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
    """A person's chosen test frames."""

    name: str  # for people
    scheme: Scheme
    points: Points  # (C, N, 2) pixels of the frames
    frames: Image8  # (C, S, S, 3) as the dataset cropped them


@dataclass(frozen=True)
class Actor(Driver):
    """A target: its bundle's folder and manifest besides."""

    folder: Path
    manifest: BundleManifest


@dataclass(frozen=True)
class Panel:
    """A title over rows of pictures (R, C, CELL, CELL, 3); each row and each column has a label."""

    title: str
    columns: Sequence[str]
    labels: Sequence[str]
    rows: Image8


def show_samples(actors: Sequence[Actor]) -> list[Panel]:
    """Each target from its own landmarks, then each driven by every other."""
    return [*map(show_own, actors), *(show_driven(source, target) for source, target in permutations(actors, 2))]


def open_driver(name: str, data_dir: Path) -> Driver:
    """The test frames of a dataset that the columns ask for."""
    dataset = FrameDataset(data_dir / name)
    chosen = choose_frames(measure_expression(dataset.landmarks("test"), dataset.scheme))
    points, frames = dataset.points("test")[chosen], dataset.crops("test")[chosen]
    return Driver(dataset.manifest.display_name, dataset.scheme, points, frames)


def open_actor(name: str, data_dir: Path, models_dir: Path) -> Actor:
    """Read a target's bundle besides."""
    manifest, driver = read_bundle(models_dir / name), open_driver(name, data_dir)
    return Actor(manifest.display_name, driver.scheme, driver.points, driver.frames, models_dir / name, manifest)


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


def show_own(actor: Actor) -> Panel:
    """The target from its own landmarks, which training never saw."""
    landmarks = place_points(actor, actor)
    made = from_network(run_network(actor.folder, actor.manifest.tl2f, landmarks))
    drawn = [draw_landmarks(points, get_scheme(actor.manifest.scheme)) for points in landmarks]
    return Panel(
        f"{actor.name}, held-out frames",
        name_columns(),
        ("filmed", "landmarks", "made"),
        np.stack([fit_cells(actor.frames), np.stack(drawn), fit_cells(made)]),
    )


def show_driven(source: Actor, target: Actor) -> Panel:
    """The target under another person's landmarks, which the converter gives the target's shape."""
    converted = run_network(target.folder, target.manifest.converter, place_points(source, target))
    made = from_network(run_network(target.folder, target.manifest.tl2f, converted))
    drawn = [draw_landmarks(points, get_scheme(target.manifest.scheme)) for points in converted]
    return Panel(
        f"{source.name} drives {target.name}",
        name_columns(),
        ("filmed", "converted", "made"),
        np.stack([fit_cells(source.frames), np.stack(drawn), fit_cells(made)]),
    )


def place_points(source: Driver, target: Actor) -> Points:
    """The source's landmarks in the target's scheme and crop units, (C, N, 2), as the service places them."""
    points = convert_scheme(source.points, source.scheme, get_scheme(target.manifest.scheme))
    return np.stack([find_crop(face, target.manifest.crop).to_unit(face) for face in points])


def run_network(folder: Path, spec: OnnxFile, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """The answer of one of a bundle's networks, on the CPU."""
    session = ort.InferenceSession(folder / spec.file, providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run([spec.output.name], {spec.input.name: batch})[0]
    return output


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


def fit_cells(pictures: Image8) -> Image8:
    """Pictures ``(C, S, S, 3)`` at the size of a cell."""
    resized = [Image.fromarray(each).resize((CELL, CELL), Image.Resampling.LANCZOS) for each in pictures]
    return np.stack([np.asarray(each) for each in resized])


def lay_out(panels: Sequence[Panel]) -> Image.Image:
    """The panels, two in a row, with their texts."""
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    margin = LINE + round(max(small.getlength(label) for panel in panels for label in panel.labels))
    width = margin + max(len(panel.columns) for panel in panels) * CELL + GUTTER
    across = min(2, len(panels))
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
