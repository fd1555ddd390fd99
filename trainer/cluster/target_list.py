"""The list of targets that ``make train-many`` reads: a CSV, one target a line."""

import csv
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import ManifestError


class Row(BaseModel):
    """One line. `video` may be several paths, parted by semicolons; without media the dataset is there already."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    video: str = ""
    photos: str = ""
    name: str = ""
    licence: str = ""
    consent: str = ""

    def list_videos(self) -> list[Path]:
        """The video files."""
        return [Path(each.strip()).resolve() for each in self.video.split(";") if each.strip()]

    def list_media(self) -> list[Path]:
        """All files and folders named."""
        return [*self.list_videos(), *([Path(self.photos).resolve()] if self.photos else [])]

    def to_arguments(self) -> list[str]:
        """The same for ``train``."""
        videos = [str(path) for path in self.list_videos()]
        photos = ["--photos", str(Path(self.photos).resolve())] if self.photos else []
        about = {"--name": self.name, "--licence": self.licence, "--consent": self.consent}
        told = [word for option, value in about.items() if value for word in (option, value)]
        return ["--target", self.target, *(["--video", *videos] if videos else []), *photos, *told]


def read_rows(path: Path) -> list[Row]:
    """The list. Raises ManifestError, which names the line."""
    from trainer.cli.main import TARGET_PATTERN

    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file, restkey="more"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} can't be read: {error}") from error
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=2):
        try:
            row = Row.model_validate({name: value or "" for name, value in line.items()})
        except ValidationError as error:
            wrong = ", ".join(str(each["loc"][0]) for each in error.errors())
            columns = ", ".join(Row.model_fields)
            raise ManifestError(f"{path}, line {number}: '{wrong}' can't be. The columns are: {columns}.") from error
        if not re.fullmatch(TARGET_PATTERN, row.target):
            raise ManifestError(f"{path}, line {number}: '{row.target}' can't be a target's id: use a-z, 0-9, - and _.")
        if row.target in rows:
            raise ManifestError(f"{path}, line {number}: '{row.target}' stands there twice.")
        rows[row.target] = row
    if not rows:
        raise ManifestError(f"{path} names no target: one line each, below a line with the columns' names.")
    return list(rows.values())
