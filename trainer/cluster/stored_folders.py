"""The folders of a training that lie in a store: each worker fetches them when it begins, the first puts its own back.

The store has `data/`, `runs/` and `models/`, as a checkout does. A worker that begins again, on whichever node, fetches
the last checkpoint that was put there.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.bundle import MANIFEST_NAME
from shared.errors import StoreError
from shared.store import Store

FOLDERS = ("data", "runs", "models")
SECONDS = 5.0
"""Between two looks for what changed. A checkpoint is lost with the node that wrote it no longer than this."""


class StoredFolders:
    """A store and a folder of this node, with what a training of `target` reads and writes."""

    def __init__(self, store: Store, root: Path, target: str) -> None:
        self.store, self.root = store, root
        self.prefixes = ("data/", "models/", "runs/converter-", f"runs/{target}-")
        self._known: dict[str, tuple[int, int]] = {}  # name -> its size and time, as last fetched or put

    def fetch(self) -> None:
        """All that the store has. Raises StoreError."""
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name in self.store.list_files():
            if name.startswith(self.prefixes) and not name.startswith("data/media/"):
                self._known[name] = describe_file(self.store.fetch(name, self.root / name))

    def put(self) -> None:
        """What changed since, a bundle's manifest last. Raises StoreError."""
        paths = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
        names = [str(path) for path in paths if not any(part.startswith(".") for part in path.parts)]  # whole ones
        for name in sorted(names, key=lambda name: (name.endswith(MANIFEST_NAME), name)):
            try:
                now = describe_file(self.root / name)
            except FileNotFoundError:  # removed or renamed meanwhile
                continue
            if name.startswith(self.prefixes) and self._known.get(name) != now:
                self.store.put(self.root / name, name)
                self._known[name] = now


def describe_file(path: Path) -> tuple[int, int]:
    """What changes whenever a file is written."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@contextmanager
def keep_alike(url: str, target: str, writes: bool) -> Iterator[Path]:
    """A folder with `data`, `runs` and `models` of the store, for the block; one worker writes them back.

    Raises StoreError where the store can't be read, or what the block left can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="landmarkgan-") as name:
        folders = StoredFolders(Store(url), Path(name), target)
        folders.fetch()
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(SECONDS):
                try:
                    folders.put()
                except StoreError as error:  # tried again, and at the end
                    print(f"warning: {error}", flush=True)

        thread = threading.Thread(target=follow, name="store", daemon=True)
        if writes:
            thread.start()
        try:
            yield Path(name)
        finally:
            ended.set()
            if writes:
                thread.join()
        if writes:
            folders.put()
