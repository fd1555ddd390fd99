"""Folders that are whole or not there: written beside their place, and moved there in one step.

Where an older folder is in that place the two change names at once, so that at every moment one whole folder has it.
Few file systems can't do that (some of a network's): there a kill between two renames can leave the place empty, and
`recover_folder` puts the older one back.
"""

import ctypes
import os
import shutil
from pathlib import Path

RENAME_EXCHANGE = 2  # of Linux's renameat2
AT_FDCWD = -100


def start_folder(parent: Path, name: str) -> Path:
    """An empty ``.<name>.part`` to write a dataset or bundle into; what a killed run left there is removed."""
    recover_folder(parent / name)
    part = parent / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def finish_folder(part: Path, name: str) -> Path:
    """Give a written folder its name; an older one of that name makes way for it, and goes."""
    final, old = part.with_name(name), part.with_name(f".{name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if not final.exists():
        part.replace(final)
    elif exchange_folders(part, final):
        shutil.rmtree(part)
    else:
        final.replace(old)
        part.replace(final)
        shutil.rmtree(old, ignore_errors=True)
    return final


def recover_folder(folder: Path) -> None:
    """Put back what a kill between two renames left under another name. Does nothing where the folder is there."""
    old = folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():
        old.replace(folder)


def exchange_folders(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False, and nothing done, where system or file system can't."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    return bool(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0)
