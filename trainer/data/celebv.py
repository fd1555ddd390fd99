"""CelebV as ReenactGAN published it, read where it lies.

    CelebV/<person>/Image/<file>        256x256 faces
    CelebV/<person>/all_98pt.txt        one line a frame: x0 y0 … x97 y97 name

The name is the last of 197 tokens and may itself hold spaces. The file's order is the video's.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shared.errors import LandmarksError
from shared.landmarks import WFLW98, Points, check_points
from trainer.data.sources import Frame, Skipped, SourceFile, read_photo
from trainer.errors import SourceError

ANNOTATIONS = "all_98pt.txt"
FPS = 25.0  # the frames' own times were not published
BROKEN_SHARE = 0.5
NAMED_LINES = 5

# Target -> folder; the second spelling is that of some published scripts.
CELEBV_FOLDERS = {
    "macron": ("Emmanuel_Macron",),
    "kathleen": ("Kathleen",),
    "ma": ("Jack_Ma",),
    "may": ("Theresa_May",),
    "trump": ("Donald_Trump", "Donald_trump"),
}

LAYOUT = "CelebV/<person>/Image/*.jpg beside CelebV/<person>/all_98pt.txt"


class CelebVSource:
    """One person of CelebV: pictures with 98 points each."""

    scheme: str | None = WFLW98.name

    def __init__(self, root: Path, target: str) -> None:
        """Read the annotations. Raises SourceError for a missing folder or file, or where most lines are broken."""
        self.folder = find_person(root, target)
        path = self.folder / ANNOTATIONS
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path} can't be read ({error}). Expected layout: {LAYOUT}.") from error
        self.entries = [
            _parse_line(line, number) for number, line in enumerate(text.splitlines(), start=1) if line.strip()
        ]
        broken = [entry for entry in self.entries if isinstance(entry, Skipped)]
        if len(broken) > BROKEN_SHARE * len(self.entries) or not self.entries:
            named = "; ".join(f"{entry.name}: {entry.reason}" for entry in broken[:NAMED_LINES])
            raise SourceError(
                f"{path}: {len(broken)} of {len(self.entries)} lines are broken ({named or 'the file is empty'}). "
                "A line is 'x0 y0 … x97 y97 name': 196 numbers and a file name."
            )
        seconds = len(self.entries) / FPS
        self.files = (SourceFile(self.folder.name, self._hash_contents(text), FPS, seconds),)
        self.expected = len(self.entries)

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        """The lines' pictures and points; broken lines, and pictures missing or broken, come as `Skipped`."""
        for number, entry in list(enumerate(self.entries))[::every]:
            if isinstance(entry, Skipped):
                yield entry
                continue
            name, points = entry
            path = self.folder / "Image" / name
            image = read_photo(path)
            if image is None:
                yield Skipped(name, "broken picture" if path.is_file() else "missing picture")
            else:
                yield Frame(image, source=0, number=number, time=number / FPS, landmarks=points)

    def _hash_contents(self, annotations: str) -> str:
        """A hash of the annotations and of the pictures' names and sizes: 40,000 pictures are not read for it."""
        digest = hashlib.sha256(annotations.encode())
        for path in sorted((self.folder / "Image").glob("*")):
            digest.update(f"{path.name}\0{path.stat().st_size}\n".encode())
        return digest.hexdigest()


def find_person(root: Path, target: str) -> Path:
    """The folder of a CelebV target. Raises SourceError, with the layout, where it is not there."""
    names = CELEBV_FOLDERS[target]
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise SourceError(f"There is no folder {names[0]} in {root}. Expected layout: {LAYOUT}.")


def _parse_line(line: str, number: int) -> tuple[str, Points] | Skipped:
    """One line's file name and ``(98, 2)`` points, or why it is broken, named by its line number."""
    where = f"{ANNOTATIONS} line {number}"
    tokens = line.strip().split(" ", 2 * WFLW98.count)
    if len(tokens) != 2 * WFLW98.count + 1 or not tokens[-1].strip():
        return Skipped(where, "broken line: fewer than 196 numbers and a name")
    try:
        values = np.array([float(token) for token in tokens[:-1]])
        points = check_points(values.reshape(-1, 2), WFLW98)
    except (ValueError, LandmarksError):
        return Skipped(where, "broken line: points that are no face")
    name = tokens[-1].strip()
    if Path(name).name != name:
        return Skipped(where, "broken line: a name that leaves the Image folder")
    return name, points
