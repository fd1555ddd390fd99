"""Bundles of an object store, kept alike in a folder of this machine, which the service follows as any other."""

import logging
import shutil
import threading
from collections import defaultdict
from pathlib import Path, PurePosixPath

from shared.errors import StoreError
from shared.store import Store

logger = logging.getLogger(__name__)

SECONDS = 5.0
"""Between two looks at the store. A bundle is served two seconds after the look that finds it, at the latest."""


class BundleMirror:
    """Each folder of the store is one of the models folder. A half-written bundle comes along, and is refused there."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self._known: dict[str, dict[str, str]] = {}  # folder -> its files, as last fetched
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="bundles", daemon=True)

    def start(self) -> None:
        """Fetch all, then go on looking. Raises StoreError where the store can't be read."""
        self.update()
        self._thread.start()

    def close(self) -> None:
        """Look no more. Blocks until the last look is over."""
        self._ended.set()
        self._thread.join()

    def update(self) -> None:
        """Fetch the folders that changed, remove those that are gone. Raises StoreError."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for name, version in self.store.list_files().items():
            parts = PurePosixPath(name).parts
            if len(parts) == 2 and not parts[0].startswith("."):
                found[parts[0]][name] = version
        for folder in self._known.keys() - found.keys():
            shutil.rmtree(self.folder / folder, ignore_errors=True)
            del self._known[folder]
        for folder, files in found.items():
            if self._known.get(folder) != files:
                self._fetch(folder, files)
                self._known[folder] = files

    def _fetch(self, folder: str, files: dict[str, str]) -> None:
        """Exchange a folder by two renames, which whoever follows it allows for."""
        part, old = self.folder / f".{folder}.part", self.folder / f".{folder}.old"
        for each in (part, old):
            shutil.rmtree(each, ignore_errors=True)
        part.mkdir(parents=True)
        for name in files:
            self.store.fetch(name, part / PurePosixPath(name).name)
        final = self.folder / folder
        if final.exists():
            final.replace(old)
        part.replace(final)
        shutil.rmtree(old, ignore_errors=True)
        logger.info("fetched %s from the store, %d files", folder, len(files))

    def _follow(self) -> None:
        while not self._ended.wait(SECONDS):
            try:
                self.update()
            except StoreError as error:  # what was fetched is served on
                logger.error("bundles: %s", error)
