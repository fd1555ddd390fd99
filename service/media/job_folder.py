"""The folder of video jobs on disk: one service's alone, one folder a job, and nothing deleted that is not understood.

``<id>/job.json`` is the record, written beside and renamed; ``source`` the upload or the keyframes, gone when the job
has ended; ``result.mp4`` what was made, whatever its format.
"""

import fcntl
import json
import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import StartError, StorageError
from service.inference.bundles import Consent
from service.media.clip_renderer import RenderOptions
from service.media.film import FilmOptions
from shared.documents import write_document

logger = logging.getLogger(__name__)

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]

RECORD, SOURCE, RESULT = "job.json", "source", "result.mp4"
VERSION = 1
LOCK, DELETED = ".lock", ".deleted"
JOB_ID = re.compile(r"[0-9a-f]{32}")
UNFINISHED = re.compile(rf"{SOURCE}|\..*\.part")  # what an upload may leave that a crash broke off


class JobRecord(BaseModel):
    """``job.json``. Times are seconds since the epoch; `error` says in words why a job failed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    id: str
    options: RenderOptions | FilmOptions
    state: JobState = "waiting"
    created: float
    ended: float | None = None
    starts: int = 0
    frames: int = 0
    without_face: int = 0
    error: str | None = None
    bundle: str | None = Field(default=None, description="SHA-256 of the bundle that makes the video, once it begins.")
    consent: Consent | None = None


class JobFolder:
    """Holds the folder's lock, from `lock` until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def lock(self) -> None:
        """Raises StartError where another service has it. A folder that can't be made is told when a job needs it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StartError(
                "Another service keeps its video jobs in the same folder.",
                "A folder for each service: LANDMARKGAN_JOBS_DIR.",
            ) from error
        except OSError as error:
            logger.warning("video jobs can't be stored in %s: %s", self.path, error.strerror)

    def close(self) -> None:
        """Another service may have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def load(self) -> list[tuple[JobRecord, Path]]:
        """The jobs' records and folders, the oldest first.

        An upload or a deletion that a crash broke off is removed. What can't be read, is of a newer version or was
        moved here from another id's folder stays where it is, untouched: a version that understands it finds it again.
        """
        found = []
        for folder in self.path.iterdir() if self.path.is_dir() else ():
            if not folder.is_dir() or not JOB_ID.fullmatch(folder.name.removesuffix(DELETED)):
                continue
            if folder.name.endswith(DELETED) or all(UNFINISHED.fullmatch(each.name) for each in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                record = read_record(folder)
            except (OSError, ValueError) as error:
                logger.warning("the video job %s… is set aside, and nothing of it deleted: %s", folder.name[:8], error)
                continue
            found.append((record, folder))
        return sorted(found, key=lambda each: each[0].created)


def delete_folder(folder: Path) -> None:
    """Delete a job with all its files: a kill at any moment leaves it whole, or to be deleted by the next start."""
    gone = folder.with_name(folder.name + DELETED)
    with suppress(OSError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def read_record(folder: Path) -> JobRecord:
    """The record of a job's folder. Raises OSError, and ValueError which says why it is not understood."""
    told = json.loads((folder / RECORD).read_bytes())
    version = told.get("version", VERSION) if isinstance(told, dict) else None
    if version != VERSION:
        raise ValueError(f"its record is of version {version!r:.20}, and this service reads version {VERSION}")
    try:
        record = JobRecord.model_validate(told)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"its record can't be read: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
    if record.id != folder.name:
        raise ValueError("its record is that of another job")
    return record


def save_record(record: JobRecord, folder: Path) -> None:
    """Write the record whole or not at all. Raises StorageError."""
    try:
        write_document(record, folder / RECORD)
    except OSError as error:
        raise StorageError.of(error) from error


def keep_files(folder: Path, kept: set[str]) -> None:
    """Delete the other files of a job's folder. Raises OSError."""
    for each in folder.iterdir():
        if each.name not in kept:
            each.unlink()
