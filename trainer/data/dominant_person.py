"""Whose face it is: the target's in each frame, among all that the first pass found.

A likeness of thumbnails and the way from frame to frame tell people apart; no network is trained for it.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import guess_scheme
from trainer.data.scan import Scan, describe_thumbs

# Similarity of two thumbnails, 1 for equal ones. Measured on the sample media: one person in one setting stays above
# 0.85 through all expressions; other people reach 0.83 at most, and mostly 0.7.
SAME_STEP = 0.82  # to the frame before: below it a new track begins
SAME_PERSON = 0.85  # of a track's median frame to the person's other frames
MIN_EXTENT = 8.0  # pixels that eyes and nose must span
STEP_ENTRIES = 5  # a face may be lost for so many frames within a track
STEP_MOVE = 0.5  # and move by so many of its own sides
PROTOTYPES = 32  # frames that stand for a track


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
