"""Several processes on one training: under torchrun each takes its rows of every batch, and gradients are averaged.

Every process draws the whole batch from the same seed, so that what is learned hangs on the batch and not on how many
share it. ``gloo`` carries what is on the CPU, NCCL what is on CUDA; torch's DistributedDataParallel does the rest.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.errors import DistributedError

LONGEST_WAIT = timedelta(hours=6)
"""For the first process, which prepares datasets and exports bundles alone."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # among those of this machine

    @property
    def is_main(self) -> bool:
        """Whether this one writes checkpoints, logs, samples and the bundle."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Which rows of a batch are this process's."""
        return slice(self.rank, None, self.count)

    def take(self, rows: int) -> int:
        """How many of a batch's first rows are this process's."""
        return len(range(rows)[self.rows])

    def share(self, rows: int) -> float:
        """What this process's mean over its part of `rows` rows counts: the mean over all processes is theirs all."""
        return self.take(rows) * self.count / rows

    def place(self, device: torch.device) -> torch.device:
        """A GPU for each process; the CPU is everybody's."""
        if device.type != "cuda" or self.count == 1:
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise DistributedError(
                f"{self.count} processes were started, and there are {torch.cuda.device_count()} CUDA devices. "
                "Start one process for each, or give --device cpu."
            )
        return torch.device("cuda", self.local_rank)

    def check_share(self, name: str, rows: int) -> None:
        """Raise DistributedError where a batch can't be shared evenly."""
        if rows % self.count:
            raise DistributedError(
                f"{self.count} processes can't share {name} of {rows} evenly. Start a number of them that divides it: "
                f"{', '.join(str(count) for count in range(1, rows + 1) if rows % count == 0)}."
            )

    def check_least(self, name: str, rows: int) -> None:
        """Raise DistributedError where there is not one for each process."""
        if rows < self.count:
            raise DistributedError(
                f"{self.count} processes can't share {name}, which are {rows}. Start {rows} at most."
            )

    def distribute(self, network: nn.Module) -> nn.Module:
        """`network`, whose gradients will be the mean over all processes; itself where there is one.

        Its weights become the first process's. Buffers are not sent: all of them follow from the weights and the data.
        """
        return network if self.count == 1 else DistributedDataParallel(network, broadcast_buffers=False)

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The mean of each scalar over all processes, which all have to ask for it."""
        together = torch.stack([value.detach().float().cpu() for value in values.values()])
        if self.count > 1:
            dist.all_reduce(together)
            together /= self.count
        return dict(zip(values, together.tolist(), strict=True))

    @contextmanager
    def lead_first(self) -> Iterator[None]:
        """The first process goes through the block alone, then the others, who find its work done."""
        if self.count > 1 and not self.is_main:
            dist.barrier()
        yield
        if self.count > 1 and self.is_main:
            dist.barrier()


SINGLE_PROCESS = DistributedContext()


@contextmanager
def join_distributed() -> Iterator[DistributedContext]:
    """This process among those that torchrun started, joined while the block lasts; else `SINGLE_PROCESS`.

    Only the first one is heard on stdout.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    begun = dist.is_initialized()  # by a launcher that ends it too, as Ray Train
    if count == 1 or not (begun or dist.is_torchelastic_launched()):
        yield SINGLE_PROCESS
        return
    processes = DistributedContext(int(os.environ["RANK"]), count, int(os.environ["LOCAL_RANK"]))
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    if not begun:
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=LONGEST_WAIT)
    try:
        with contextlib.ExitStack() as stack:
            if not processes.is_main:
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            yield processes
        dist.barrier()  # torchrun ends all where one ends badly, and the first may still be writing the bundle
    finally:
        if not begun:
            dist.destroy_process_group()
