"""JSON documents on disk: whole or not there."""

import os
from pathlib import Path

from pydantic import BaseModel


def write_document(document: BaseModel, path: Path) -> None:
    """Write a document as JSON beside its place, and move it there: a kill at any moment leaves the old one or the new.

    Raises OSError, leaving nothing behind.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(document.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
