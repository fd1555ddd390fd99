"""Folders that take an older one's place: whole at every moment, also where a kill comes in between."""

import contextlib
import shutil
from pathlib import Path

import pytest

from trainer.data import folders
from trainer.data.folders import exchange_folders, finish_folder, recover_folder, start_folder


def write(parent: Path, text: str) -> Path:
    part = start_folder(parent, "ada")
    (part / "what.txt").write_text(text)
    return part


def read(parent: Path) -> str:
    return (parent / "ada" / "what.txt").read_text()


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_new_folder_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(folders, "exchange_folders", lambda one, other: False)
    for text in ("first", "second", "third"):
        assert finish_folder(write(tmp_path, text), "ada") == tmp_path / "ada"
        assert read(tmp_path) == text
        assert [path.name for path in tmp_path.iterdir()] == ["ada"]


def test_two_folders_change_names_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what.txt").write_text(name)
    assert exchange_folders(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "what.txt").read_text() == "other"
    assert not exchange_folders(tmp_path / "one", tmp_path / "nowhere")
    assert (tmp_path / "one" / "what.txt").read_text() == "other"


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_kill_at_any_step_leaves_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool, step: int
) -> None:
    finish_folder(write(tmp_path, "old"), "ada")
    part = write(tmp_path, "new")
    done = 0

    def kill_before(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def count(*given: object, **named: object) -> object:
            nonlocal done
            done += 1
            if done > step:
                raise KeyboardInterrupt
            return original(*given, **named)

        monkeypatch.setattr(owner, name, count)

    if not can_exchange:
        monkeypatch.setattr(folders, "exchange_folders", lambda one, other: False)
    for owner, name in ((Path, "replace"), (folders, "exchange_folders"), (shutil, "rmtree")):
        kill_before(owner, name)
    with contextlib.suppress(KeyboardInterrupt):
        finish_folder(part, "ada")
    monkeypatch.undo()
    if can_exchange:
        assert read(tmp_path) in ("old", "new")  # with no help
    recover_folder(tmp_path / "ada")
    assert read(tmp_path) in ("old", "new")
    finish_folder(write(tmp_path, "next"), "ada")
    assert read(tmp_path) == "next"
    assert [path.name for path in tmp_path.iterdir()] == ["ada"]
