"""Checkpoints: written beside and renamed, so that a kill at any moment leaves the last whole one."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from trainer.errors import CheckpointError

CHECKPOINT_SECONDS = 60.0


class CheckpointClock:
    """Says when so much time has gone by that losing it would hurt."""

    def __init__(self, seconds: float = CHECKPOINT_SECONDS) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def is_due(self) -> bool:
        """Whether the time is up; if so it begins anew."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def save_checkpoint(path: Path, config: BaseModel, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers and the configuration they belong to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        torch.save({"config": config.model_dump(mode="json"), **state}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path, config: BaseModel) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is none.

    Raises CheckpointError where it is of another configuration, so that no run goes on with settings it was not begun
    with, or where it can't be read.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise: pickle, zip and key errors alike
        raise CheckpointError(f"{path} can't be read ({error}). Remove it to begin again.") from error
    if state.pop("config", None) != config.model_dump(mode="json"):
        raise CheckpointError(
            f"{path} belongs to a run with another configuration. Remove its folder to begin again, "
            "or go on with the settings it was begun with."
        )
    return state
