"""What the service is told from outside: environment variables that begin with LANDMARKGAN_."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.bundle import MANIFEST_NAME
from shared.cores import count_cores

PREFIX = "LANDMARKGAN_"
MIB = 1024 * 1024


def check_key(key: SecretStr) -> SecretStr:
    """A key that fits into a header. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", key.get_secret_value()):
        raise ValueError("A key is of letters, digits and ._~+/=- alone; `openssl rand -hex 24` makes one.")
    return key


ApiKey = Annotated[SecretStr, Field(min_length=16, max_length=256), AfterValidator(check_key)]


class Settings(BaseSettings):
    """Every setting with its default; each is the environment variable ``LANDMARKGAN_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    models_dir: Path = Field(default=Path("models"), description="Folder of bundles, one a target, and the detector's.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = Field(default="text", description="json: one object a line, with fields.")

    api_keys: tuple[ApiKey, ...] = Field(
        default=(), description='Keys that open the service, as JSON: ["…"]; none: everybody who reaches it may use it.'
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(), description='Pages of other hosts that may use the service, as JSON: ["https://example.org"].'
    )

    device: Literal["cpu", "cuda"] = "cpu"
    require_gpu: bool = Field(default=False, description="Fail the start where the networks would not run on CUDA.")
    threads: int = Field(
        default_factory=count_cores, ge=1, le=256, description="CPU threads; default: the cores that it may use."
    )
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default=1, description="Processes that share the port: a number, or auto, one for every two cores."
    )
    require_consent: bool = Field(
        default=False, description="Refuse bundles whose manifest names no consent record of the person."
    )
    detector: str = Field(default="mesh", description="Landmark detector of /reenact and /landmarks.")
    default_target: str | None = Field(default=None, description="Target of requests that name none; unset: they must.")

    queue_size: int = Field(
        default=32, ge=1, le=10_000, description="Requests in work or waiting; more are answered 503."
    )
    pictures_at_once: int = Field(
        default=4, ge=1, le=64, description="Uploaded pictures in memory, decoded, of max_pixels together; others wait."
    )
    max_batch: int = Field(default=4, ge=1, le=64, description="Waiting requests of one target that run as one batch.")
    deadline_seconds: float = Field(
        default=15, gt=0, le=600, description="After this a request is answered 503 and dropped."
    )
    drain_seconds: float = Field(
        default=0, ge=0, le=600, description="How long /readyz says 503 before the service closes."
    )

    client_seconds: float = Field(
        default=10, gt=0, le=600, description="For a request's head, and for any halt in its body or its answer."
    )
    max_json_bytes: int = Field(default=256 * 1024, ge=1024)
    max_upload_bytes: int = Field(default=20 * MIB, ge=1024)
    max_pixels: int = Field(
        default=40_000_000, ge=1, le=80_000_000, description="Of an uploaded picture, checked undecoded."
    )

    max_streams: int = Field(default=4, ge=0, le=1000, description="Streams at once; further ones are refused.")
    max_frame_bytes: int = Field(default=MIB, ge=1024, le=64 * MIB, description="Of a stream's frame.")
    max_frame_pixels: int = Field(
        default=2_100_000, ge=1, le=80_000_000, description="Of a stream's frame, checked undecoded."
    )
    stream_idle_seconds: float = Field(
        default=20, gt=0, le=3600, description="A stream that sends nothing, or reads nothing, for so long is closed."
    )

    jobs_dir: Path = Field(default=Path("jobs"), description="Where video jobs are kept; one service's alone.")
    jobs_at_once: int = Field(default=1, ge=1, le=64, description="Video jobs in work; others wait.")
    jobs_waiting: int = Field(default=16, ge=0, le=10_000, description="Video jobs that wait; more are answered 503.")
    job_keep_seconds: float = Field(
        default=86_400, gt=0, description="After this a finished job and its video are deleted."
    )
    max_video_bytes: int = Field(default=200 * MIB, ge=1024)
    max_video_seconds: float = Field(default=600, gt=0)
    max_video_pixels: int = Field(default=8_300_000, ge=1, le=80_000_000, description="Of a video's frame.")

    c2pa_cert: Path | None = Field(
        default=None, description="PEM certificate chain; with it no picture leaves without C2PA credentials."
    )
    c2pa_key: Path | None = Field(default=None, description="PEM private key of that certificate.")
    c2pa_algorithm: Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] = "es256"


def find_mistakes(settings: Settings, environment: Iterable[str]) -> list[str]:
    """What no single setting can tell, each in words: names of the environment that are none, no default target."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    mistakes = []
    for name in sorted(name for name in environment if name.upper().startswith(PREFIX)):
        if name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            mistakes.append(f"{name}: there is no such setting{f'; {near[0]} is meant?' if near else '.'}")
    default = settings.default_target
    if default is not None and not (settings.models_dir / default / MANIFEST_NAME).is_file():
        found = sorted(path.parent.name for path in settings.models_dir.glob(f"*/{MANIFEST_NAME}"))
        there = ", ".join(found) or "no bundle"
        mistakes.append(f"{PREFIX}DEFAULT_TARGET: there is no target '{default}'; {settings.models_dir} has: {there}.")
    return mistakes
