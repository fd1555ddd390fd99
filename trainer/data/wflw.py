"""WFLW as its authors publish it, read where it lies.

    WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
    WFLW_images/<scene>/<file>

A line is 207 tokens, a face: x0 y0 … x97 y97, its box x_min y_min x_max y_max, six flags (pose, expression,
illumination, make-up, occlusion, blur), and the picture's path, which may itself hold spaces.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from shared.errors import LandmarksError
from shared.landmarks import WFLW98, Points, check_points
from trainer.data.dataset import is_held_out
from trainer.data.prepare import About
from trainer.data.sources import Frame, Skipped, SourceFile, read_photo
from trainer.errors import SourceError

LISTS = Path("WFLW_annotations", "list_98pt_rect_attr_train_test")
LIST_NAMES = ("list_98pt_rect_attr_train.txt", "list_98pt_rect_attr_test.txt")
PICTURES = "WFLW_images"
NUMBERS = 2 * WFLW98.count + 4 + 6
BROKEN_SHARE = 0.5
NAMED_LINES = 5
LAYOUT = f"WFLW_annotations/{LISTS.name}/{{{','.join(LIST_NAMES)}}} beside WFLW_images/"
WFLW = About("wflw", "WFLW", "WFLW, for non-commercial research", "of nobody on record: pictures of strangers")


class WFLWSource:
    """All faces of WFLW, 98 points each; file 0 is the training list, file 1 the test list.

    The faces of a split stand together, every 20th of the training list being for validation, so that a prepared
    dataset can read a split's crops from disk.
    """

    scheme: str | None = WFLW98.name

    def __init__(self, root: Path) -> None:
        """Read both lists. Raises SourceError for one that is missing, or where most of its lines are broken."""
        self.pictures = root / PICTURES
        train, test = (_read_list(root / LISTS / name) for name in LIST_NAMES)
        learned = sorted(train.items(), key=lambda line: is_held_out(line[0]))  # stable: else in the list's order
        self.entries = [(0, *line) for line in learned] + [(1, *line) for line in test.items()]
        self.files = tuple(
            SourceFile(name, hashlib.sha256((root / LISTS / name).read_bytes()).hexdigest(), fps=None, seconds=None)
            for name in LIST_NAMES
        )
        self.expected = len(self.entries)

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        """The lines' pictures and points; broken lines, and pictures missing or broken, come as `Skipped`."""
        for source, number, entry in self.entries[::every]:
            if isinstance(entry, Skipped):
                yield entry
                continue
            name, points = entry
            path = self.pictures / name
            image = read_photo(path)
            if image is None:
                where = f"{LIST_NAMES[source]} line {number + 1} ({name})"
                yield Skipped(where, "broken picture" if path.is_file() else "missing picture")
            else:
                yield Frame(image, source, number, time=0.0, landmarks=points)


def _read_list(path: Path) -> dict[int, tuple[str, Points] | Skipped]:
    """What each line says, by its number from 0."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} can't be read ({error}). Expected layout of WFLW: {LAYOUT}.") from error
    entries = {
        number: _parse_line(line, f"{path.name} line {number + 1}")
        for number, line in enumerate(text.splitlines())
        if line.strip()
    }
    broken = [entry for entry in entries.values() if isinstance(entry, Skipped)]
    if len(broken) > BROKEN_SHARE * len(entries) or not entries:
        named = "; ".join(f"{entry.name}: {entry.reason}" for entry in broken[:NAMED_LINES])
        raise SourceError(
            f"{path}: {len(broken)} of {len(entries)} lines are broken ({named or 'the file is empty'}). A line is "
            f"'x0 y0 … x97 y97 x_min y_min x_max y_max', six flags and a picture's path: {NUMBERS} numbers and a name."
        )
    return entries


def _parse_line(line: str, where: str) -> tuple[str, Points] | Skipped:
    """One line's picture and ``(98, 2)`` points in its pixels, or why it is broken."""
    tokens = line.strip().split(maxsplit=NUMBERS)
    if len(tokens) != NUMBERS + 1:
        return Skipped(where, f"broken line: fewer than {NUMBERS} numbers and a name")
    try:
        values = np.array([float(token) for token in tokens[:-1]])
        points = check_points(values[: 2 * WFLW98.count].reshape(-1, 2), WFLW98)
    except (ValueError, LandmarksError):
        return Skipped(where, "broken line: points that are no face")
    path = PurePosixPath(tokens[-1])
    if path.is_absolute() or ".." in path.parts:
        return Skipped(where, f"broken line: a name that leaves {PICTURES}")
    return str(path), points
