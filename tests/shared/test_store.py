"""Places elsewhere, by URL; fsspec's store in memory stands in for those of a network."""

import shutil
from pathlib import Path

import pytest

from service.cluster.bundle_mirror import BundleMirror
from shared.errors import StoreError
from shared.store import Store, is_url


def test_files_go_there_and_come_back(tmp_path: Path) -> None:
    store = Store("memory://files/models")
    (tmp_path / "a").write_bytes(b"abc")
    store.put(tmp_path / "a", "ada/tl2f.onnx")
    assert list(store.list_files()) == list(store.list_files("ada")) == ["ada/tl2f.onnx"]
    assert store.list_files("bob") == {}
    fetched = store.fetch("ada/tl2f.onnx", tmp_path / "deep" / "b")
    assert fetched.read_bytes() == b"abc"
    assert [each.name for each in fetched.parent.iterdir()] == ["b"]
    with pytest.raises(StoreError, match="memory://files/models/ada/none can't be fetched"):
        store.fetch("ada/none", tmp_path / "deep" / "c")
    assert [each.name for each in fetched.parent.iterdir()] == ["b"]


def test_a_version_changes_with_what_is_written(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store")
    for number, data in enumerate((b"abc", b"abcd")):
        (tmp_path / "a").write_bytes(data)
        store.put(tmp_path / "a", "x")
        assert store.list_files()["x"].split()[0] == str(3 + number)


def test_what_can_not_be_read_is_told() -> None:
    assert is_url("s3://bucket/models")
    assert not is_url("models/ada")
    with pytest.raises(StoreError, match=r"^nowhere://x: .*nowhere"):
        Store("nowhere://x")


def test_a_mirror_follows_its_store(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for name, data in (("ada/bundle.json", "1"), ("bob/bundle.json", "1"), (".ada.part/x", "1"), ("loose", "1")):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(data)
    mirror = BundleMirror(Store(f"file://{there}"), here)

    def look() -> dict[str, str]:
        mirror.update()
        return {str(each.relative_to(here)): each.read_text() for each in here.rglob("*") if each.is_file()}

    assert look() == {"ada/bundle.json": "1", "bob/bundle.json": "1"}
    before = (here / "bob").stat().st_ino
    (there / "ada" / "bundle.json").write_text("22")
    (there / "ada" / "tl2f.onnx").write_text("3")
    assert look() == {"ada/bundle.json": "22", "ada/tl2f.onnx": "3", "bob/bundle.json": "1"}
    assert (here / "bob").stat().st_ino == before
    shutil.rmtree(there / "ada")
    assert look() == {"bob/bundle.json": "1"}
