"""A run's curves and samples for TensorBoard, beside its checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from shared.pixels import Image8

LOG_STEPS = 20
"""From one point of the curves to the next."""


class TrainingLog:
    """Writes event files where `writer` is given, else nothing: of several processes one writes."""

    def __init__(self, writer: SummaryWriter | None) -> None:
        self.writer = writer

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point of each curve."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def add_picture(self, step: int, name: str, picture: Image8) -> None:
        """A picture (H, W, 3)."""
        if self.writer is not None:
            self.writer.add_image(name, picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Have what was added on the disk."""
        if self.writer is not None:
            self.writer.flush()


@contextmanager
def open_log(folder: Path, first: int, writes: bool) -> Iterator[TrainingLog]:
    """The log of a run that begins at step `first`: later points of a run that was broken off are not shown."""
    if not writes:
        yield TrainingLog(None)
        return
    with SummaryWriter(folder, purge_step=first) as writer:
        yield TrainingLog(writer)
