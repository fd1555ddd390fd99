"""From a person's media to a dataset: find the landmarks, keep the target's frames, cut the crops, fix the splits.

Two passes over the media. The first is slow: it looks for faces, and keeps their landmarks and a thumbnail each in
``data/.scan/``, so that another crop rule or size needs no second search. The second cuts the crops of the frames kept.
"""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from shared.detectors import LandmarkDetector
from shared.geometry import Crop, CropRule, cut_crop, find_crop
from shared.landmarks import IBUG68, WFLW98, convert_scheme, get_scheme, guess_scheme
from trainer.dataset import (
    CROPS_NAME,
    FRAMES_NAME,
    LAYOUT_VERSION,
    SPLITS,
    DatasetManifest,
    SourceRecord,
    assign_splits,
    count_splits,
    describe_left_out,
    finish_folder,
    refresh_manifest,
    start_folder,
    write_manifest,
)
from trainer.errors import DatasetError, TooFewFramesError
from trainer.sources import SCAN_VERSION, Frame, Scan, Source, describe_thumbs, load_scan, save_scan, scan_source

# Eyes, nose, brows and the jaw's upper ends place the crop and set its side. Chosen among nine sets of points by how
# well a quadratic regression from landmarks predicts held-out crops: 24.2 dB on franck (all points 21.9, eyes and nose
# 22.6, with the whole jaw 21.2). The chin is not among them, so that the head does not breathe when the mouth opens.
CROP_FACTOR, CROP_DROP = 4.1, 0.08
IBUG68_STEADY = (*range(0, 4), *range(13, 17), *range(17, 27), *IBUG68.rigid)
WFLW98_STEADY = (*range(0, 8, 2), *range(26, 33, 2), *range(33, 38), *range(42, 47), *WFLW98.rigid)
DEFAULT_CROPS: Mapping[str, CropRule] = {
    name: CropRule(centre_points=points, scale_points=points, factor=CROP_FACTOR, drop=CROP_DROP)
    for name, points in ((IBUG68.name, IBUG68_STEADY), (WFLW98.name, WFLW98_STEADY))
}

# Similarity of two thumbnails, 1 for equal ones. Measured on the sample media: one person in one setting stays above
# 0.85 through all expressions; other people reach 0.83 at most, and mostly 0.7.
SAME_STEP = 0.82  # to the frame before: below it a new track begins
SAME_PERSON = 0.85  # of a track's median frame to the person's other frames
MIN_EXTENT = 8.0  # pixels that eyes and nose must span
STEP_ENTRIES = 5  # a face may be lost for so many frames within a track
STEP_MOVE = 0.5  # and move by so many of its own sides
PROTOTYPES = 32  # frames that stand for a track

OpenDetector = Callable[[str], LandmarkDetector]


class PrepareOptions(BaseModel):
    """How media become a dataset. `crop` None takes the scheme's own rule from `DEFAULT_CROPS`; `detector_version` is a
    hash of the detector's networks, so that other networks look for the faces again.

    `person` says whose face counts: ``dominant``, that of the one seen longest, others being left out; or ``any``, the
    largest of each frame, for media known to show nobody else. `split` ``test`` makes every frame a test frame.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: str = IBUG68.name
    crop: CropRule | None = None
    size: int = Field(default=256, ge=16, le=2048)
    detector: str = "mesh"
    detector_version: str = ""
    min_score: float = Field(default=0.6, ge=0, le=1)
    person: Literal["dominant", "any"] = "dominant"
    split: Literal["blocks", "test"] = "blocks"

    @property
    def rule(self) -> CropRule:
        """The crop rule in force."""
        return self.crop or DEFAULT_CROPS[self.scheme]


@dataclass(frozen=True)
class About:
    """What the media do not say themselves: the target's id and name, under what terms, and with whose consent."""

    target: str
    display_name: str
    licence: str = "not stated"
    consent: str = "not stated"


def prepare_dataset(
    source: Source, about: About, options: PrepareOptions, open_detector: OpenDetector, data_dir: Path
) -> DatasetManifest:
    """Make ``data/<target>`` from media, and give its manifest; with the same media and options there is nothing to do.

    `open_detector` is called only if landmarks must be found. Raises TooFewFramesError, or the detector's own errors.
    """
    fingerprint = _hash_inputs(source, options)
    ready = refresh_manifest(data_dir / about.target, fingerprint, said=vars(about))
    if ready is not None:
        return ready
    scan = _scan_once(source, options, open_detector, about.target, data_dir)
    strangers = options.person == "dominant" and source.scheme is None and source.files[0].fps is not None
    chosen, left_out = choose_faces(scan, options.min_score, strangers)
    scheme = get_scheme(options.scheme)
    points = convert_scheme(scan.landmarks[chosen], guess_scheme(scan.landmarks.shape[1]), scheme)
    crops = [find_crop(face, options.rule) for face in points]
    entries = scan.entry[chosen]
    if options.split == "test" and len(entries):
        split = np.full(len(entries), SPLITS["test"], np.int8)
    else:
        try:
            split = assign_splits(scan.source[entries], scan.time[entries], [file.fps for file in source.files])
        except TooFewFramesError as error:
            raise TooFewFramesError(f"{about.target}: {error} {describe_left_out(left_out)}") from error

    part = start_folder(data_dir, about.target)
    places = {int(entry): crop for entry, crop in zip(entries, crops, strict=True)}
    _cut_crops(source, places, options.size, part / CROPS_NAME, about.target)
    np.savez(
        part / FRAMES_NAME,
        landmarks=np.stack([crop.to_unit(face) for crop, face in zip(crops, points, strict=True)]),
        points=points,
        crop=np.array([(crop.x, crop.y, crop.side) for crop in crops], np.float64),
        source=scan.source[entries],
        frame=scan.number[entries],
        time=scan.time[entries],
        split=split,
    )
    manifest = DatasetManifest(
        target=about.target,
        display_name=about.display_name,
        scheme=scheme.name,
        crop=options.rule,
        size=options.size,
        detector="given" if source.scheme else options.detector,
        licence=about.licence,
        consent=about.consent,
        sources=_record_sources(source, scan, entries),
        frames=len(chosen),
        left_out=left_out,
        splits=count_splits(split),
        fingerprint=fingerprint,
        versions={"python": platform.python_version(), **{name: version(name) for name in ("av", "numpy", "pillow")}},
    )
    write_manifest(manifest, part)
    finish_folder(part, about.target)
    return manifest


def choose_faces(scan: Scan, min_score: float, strangers: bool) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The target's face of each frame: ascending indices into the scan's faces, and the frames left out by reason.

    With `strangers` expected, only the person seen most is kept; it takes a film to know them by. Else each frame's
    largest face counts: between two photos' lights a likeness of thumbnails says nothing.
    """
    left_out = Counter(scan.reasons)
    rigid = guess_scheme(scan.landmarks.shape[1]).rigid
    extent = np.ptp(scan.landmarks[:, list(rigid)], axis=1).max(axis=1)  # (C,) pixels
    readable = int((scan.number >= 0).sum())
    kept = np.arange(len(scan.entry))
    for reason, passed in (
        ("no face", True),
        ("tiny face", extent >= MIN_EXTENT),
        ("low score", scan.score >= min_score),
    ):
        kept = kept[np.broadcast_to(passed, len(scan.entry))[kept]]
        left = len(np.unique(scan.entry[kept]))
        left_out[reason], readable = readable - left, left
    if strangers:
        kept = kept[find_dominant(scan, kept)]
        left_out["another person"] = readable - len(np.unique(scan.entry[kept]))
    _, first = np.unique(scan.entry[kept], return_index=True)
    return kept[first], {reason: count for reason, count in left_out.items() if count}


def find_dominant(scan: Scan, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these faces belong to the person seen most, in time and size.

    Faces are followed from frame to frame, so that no grimace parts from its person; then tracks join whose thumbnails
    are alike. A likeness of pixels knows one person in one setting: the same person in another light may count as
    another, which also suits a generator that cannot learn from landmarks which light to paint.
    """
    if not len(faces):
        return np.zeros(0, np.bool_)
    features = describe_thumbs(scan.thumbs[faces])
    sides = np.sqrt(np.prod(np.ptp(scan.landmarks[faces], axis=1), axis=1))
    tracks = _follow_faces(scan, faces, features, sides)
    largest = np.zeros(len(scan.number), np.float32)
    np.maximum.at(largest, scan.entry[faces], sides)
    weights = np.bincount(tracks, weights=sides / largest[scan.entry[faces]]).astype(np.float64)
    persons = _join_tracks(features, tracks, weights)
    shares = np.bincount(persons, weights=weights)
    return np.asarray(persons[tracks] == shares.argmax())


def _follow_faces(
    scan: Scan, faces: NDArray[np.int64], features: NDArray[np.float32], sides: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The track of each face ``(n,)``: like the face before it, near it, a few frames later at most."""
    centres = scan.landmarks[faces].mean(axis=1)
    tracks = np.zeros(len(faces), np.int64)
    latest: dict[int, int] = {}  # track -> its last face so far
    count = 0
    for face, entry in enumerate(scan.entry[faces]):
        latest = {track: last for track, last in latest.items() if entry - scan.entry[faces[last]] <= STEP_ENTRIES}
        best, track = SAME_STEP, -1
        for candidate, last in latest.items():
            before = scan.entry[faces[last]]
            if before == entry or scan.source[before] != scan.source[entry]:
                continue
            reach = STEP_MOVE * min(sides[face], sides[last]) * (entry - before)
            alike = float(features[face] @ features[last])
            if alike >= best and np.linalg.norm(centres[face] - centres[last]) <= reach:
                best, track = alike, candidate
        if track < 0:
            track, count = count, count + 1
        tracks[face] = track
        latest[track] = face
    return tracks


def _join_tracks(
    features: NDArray[np.float32], tracks: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The person of each track ``(T,)``: from the heaviest track on, all that are like what was joined already."""
    members = [np.flatnonzero(tracks == track) for track in range(len(weights))]
    samples = [features[faces[:: -(-len(faces) // PROTOTYPES)]] for faces in members]
    persons = np.full(len(weights), -1, np.int64)
    person = 0
    for seed in np.argsort(-weights, kind="stable").tolist():
        if persons[seed] >= 0:
            continue
        likeness = {track: np.full(len(samples[track]), -1.0) for track in np.flatnonzero(persons < 0).tolist()}
        joined = [seed]
        while joined:
            newest = joined.pop()
            if persons[newest] >= 0:
                continue
            persons[newest] = person
            likeness.pop(newest)
            for track, best in likeness.items():
                np.maximum(best, (samples[track] @ samples[newest].T).max(axis=1), out=best)
                if np.median(best) >= SAME_PERSON:
                    joined.append(track)
        person += 1
    return persons


def _hash_inputs(source: Source, options: PrepareOptions) -> str:
    """What decides a dataset's contents, in one hash."""
    chosen = options.model_copy(update={"crop": options.rule}).model_dump(mode="json")
    inputs = {"layout": LAYOUT_VERSION, "scan": _hash_scan(source, options), "options": chosen}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _hash_scan(source: Source, options: PrepareOptions) -> str:
    """What decides the first pass, in one hash."""
    detector = None if source.scheme else [options.detector, options.detector_version]
    inputs = [SCAN_VERSION, detector, source.scheme, [(file.name, file.sha256) for file in source.files]]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _scan_once(source: Source, options: PrepareOptions, opener: OpenDetector, title: str, data_dir: Path) -> Scan:
    """The first pass over this source, or what it gave in an earlier run."""
    path = data_dir / ".scan" / f"{_hash_scan(source, options)[:32]}.npz"
    scan = load_scan(path)
    if scan is None:
        detector = None if source.scheme else opener(options.detector)
        scan = scan_source(source, detector, title)
        save_scan(scan, path)
    return scan


def _cut_crops(source: Source, crops: Mapping[int, Crop], size: int, path: Path, target: str) -> None:
    """The second pass: the crop of each chosen entry, straight into ``crops.npy``."""
    pictures = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(crops), size, size, 3))
    row = 0
    with tqdm(total=len(crops), desc=f"{target}: crops", unit="frame", mininterval=0.5) as progress:
        for entry, item in enumerate(source.read()):
            if entry in crops and isinstance(item, Frame):
                pictures[row] = cut_crop(item.image, crops[entry], size)
                row += 1
                progress.update()
    pictures.flush()
    if row != len(crops):
        raise DatasetError(f"{target}: the media changed while they were read. Run the command again.")


def _record_sources(source: Source, scan: Scan, entries: NDArray[np.int32]) -> tuple[SourceRecord, ...]:
    read, kept = (
        np.bincount(rows[rows >= 0], minlength=len(source.files)) for rows in (scan.source, scan.source[entries])
    )
    return tuple(
        SourceRecord(name=file.name, sha256=file.sha256, frames=int(read[number]), kept=int(kept[number]), fps=file.fps)
        for number, file in enumerate(source.files)
    )
