"""Files that lie elsewhere: a shared folder or an object store, named by URL and reached through fsspec.

fsspec comes with the extra `scale` and is imported when a store is opened, so that nobody else loads it.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from shared.errors import StoreError


def is_url(place: str) -> bool:
    """Whether a place is a URL, such as ``s3://bucket/models``, and no path of this machine."""
    return "://" in place


class Store:
    """One folder of a store. Names are paths in it, with slashes. Its methods block, and raise StoreError."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(url)
        except ImportError as error:
            raise StoreError(
                f"{url}: the package that reads it is missing ({error}). The extra 'scale' has s3."
            ) from error
        except ValueError as error:
            raise StoreError(
                f"{url}: {error}. Name a folder or an object store, such as s3://bucket/folder."
            ) from error
        self.url = url.rstrip("/")

    def list_files(self, folder: str = "") -> dict[str, str]:
        """Every file under a folder of the store: its name and what changes whenever it is written. No hidden ones."""
        try:
            self._files.invalidate_cache()
            found = self._files.find(self._place(folder), detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # each kind of store raises its own
            raise StoreError(f"{self.url} can't be listed: {error}") from error
        length = len(self._root.rstrip("/")) + 1
        seen = {path: info for path, info in sorted(found.items()) if not path.rpartition("/")[2].startswith(".")}
        return {path[length:]: _describe_version(info) for path, info in seen.items()}

    def fetch(self, name: str, path: Path) -> Path:
        """Copy a file of the store to `path`; several processes may fetch the same one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        number, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(number)
        try:
            self._files.get_file(self._place(name), part)
            os.replace(part, path)
        except Exception as error:
            raise StoreError(f"{self.url}/{name} can't be fetched: {error}") from error
        finally:
            Path(part).unlink(missing_ok=True)
        return path

    def put(self, path: Path, name: str) -> None:
        """Copy a file to the store, beside its place and then there: nobody fetches half of it."""
        place = PurePosixPath(name)
        part = self._place(str(place.with_name(f".{place.name}.part")))
        try:
            self._files.makedirs(self._place(str(place.parent)), exist_ok=True)
            self._files.put_file(str(path), part)
            self._files.mv(part, self._place(name))
        except Exception as error:
            raise StoreError(f"{self.url}/{name} can't be written: {error}") from error

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}".rstrip("/")


def _describe_version(info: Mapping[str, object]) -> str:
    stamps = (info.get(name) for name in ("ETag", "etag", "LastModified", "mtime", "created"))
    return f"{info.get('size')} {next((stamp for stamp in stamps if stamp is not None), '')}"
