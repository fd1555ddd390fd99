"""Folders of a training in a store: what a worker leaves, the next one finds."""

import time
from pathlib import Path

import pytest

from shared.errors import StoreError
from shared.store import Store
from trainer.cluster import stored_folders
from trainer.cluster.stored_folders import StoredFolders, keep_alike


class WorkerLost(Exception):
    """In the middle of a training."""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def list_texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_worker_finds_what_the_lost_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_folders, "SECONDS", 0.01)
    there = tmp_path / "store"
    given = {"data/ada/dataset.json": "frames", "models/mesh/eye.onnx": "eye"}
    for name, text in (given | {"runs/bob-1/last.pt": "not mine", "data/media/film.mp4": "not needed"}).items():
        write(there / name, text)
    before = list_texts(there)

    def begin() -> None:
        with keep_alike(f"file://{there}", "ada", writes=True) as first:
            assert list_texts(first) == given
            write(first / "runs/ada-1/last.pt", "step 3")
            write(first / "runs/ada-1/.last.pt.part", "half of step 4")
            while not (there / "runs/ada-1/last.pt").exists():
                time.sleep(0.01)
            raise WorkerLost

    with pytest.raises(WorkerLost):
        begin()
    with keep_alike(f"file://{there}", "ada", writes=True) as second:
        assert list_texts(second) == given | {"runs/ada-1/last.pt": "step 3"}
        write(second / "models/ada/bundle.json", "whole")
    assert list_texts(there) == before | {"runs/ada-1/last.pt": "step 3", "models/ada/bundle.json": "whole"}


def test_the_other_workers_write_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data/ada/dataset.json", "frames")
    with keep_alike(f"file://{tmp_path}", "ada", writes=False) as folder:
        write(folder / "runs/ada-1/last.pt", "mine")
    assert list_texts(tmp_path) == {"data/ada/dataset.json": "frames"}


def test_a_bundle_is_put_before_its_manifest_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = StoredFolders(Store("memory://faces"), tmp_path, "ada")
    folders.fetch()
    for name in ("bundle.json", "converter.onnx", "tl2f.onnx"):
        write(tmp_path / "models/ada" / name, name)
    put: list[str] = []
    monkeypatch.setattr(folders.store, "put", lambda path, name: put.append(Path(name).name))
    folders.put()
    folders.put()
    assert put == ["converter.onnx", "tl2f.onnx", "bundle.json"]


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="can't be written"), keep_alike(f"file://{tmp_path}", "ada", True) as folder:
        write(folder / "runs/ada-1/last.pt", "step 1")
