"""The messages of /stream: options, frames and answers, and the words that describe them. docs/stream.md has more."""

import json
import struct
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.api.problems import SHOWN_CHARACTERS, SHOWN_ERRORS
from service.api.schemas import to_milliseconds
from service.errors import OptionError
from service.inference.bundles import Target
from service.inference.face_player import NeutralState
from service.inference.face_service import Stopwatch
from service.provenance.label import Label

MAX_OPTIONS = 4096  # characters

# OpenAPI has no words for WebSockets: this stands in the document's description.
PROTOCOL = """
<details><summary>WebSocket /stream: frames of a camera in, the target's face out</summary>

A camera's frames in, the target's face out. Send the options as JSON in a text message, `{}` will do, and get one back
that names the target. Then send each frame as a binary message, a JPEG, PNG or WebP. Each answer is binary: four bytes,
the length of the header, unsigned and big-endian; the header, JSON; a JPEG, or nothing.

| option | default | means |
| --- | --- | --- |
| `target` | the service's | id of a target |
| `convert` | true | false where the person filmed is the target |
| `paste_back` | false | answer with the frame, its face exchanged |
| `smoothing` | true | steady landmarks and crop over time |
| `face` | 0 | which face, by size when it is first seen |
| `size`, `quality`, `label` | | as in POST /reenact |

`{"neutral": "take"}`, sent while the person looks into the camera with a face at rest, takes what is seen next for
their neutral face.

| header | means |
| --- | --- |
| `frame` | number of the frame answered, from 1 |
| `state` | `face`, `no-face` or `refused`; `reason` says why there is no picture |
| `dropped` | frames dropped so far: of those that arrive while one is in work the newest is kept |
| `neutral` | the driver's neutral face is `watched`, `taking` or `given` |
| `timings_ms`, `total_ms` | of each stage; from the frame's arrival to its answer |
| `width`, `height`, `bundle` | of the picture, and of what made it |

What ends a stream comes as a text message, a problem as everywhere, and then as the close: its code is 4000 and the
problem's status.

</details>
"""


class StreamOptions(BaseModel):
    """A stream's first message; a later one replaces it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, max_length=64)
    convert: Annotated[bool, Field(strict=True)] = True
    paste_back: Annotated[bool, Field(strict=True)] = False
    smoothing: Annotated[bool, Field(strict=True)] = True
    face: int = Field(default=0, ge=0, le=1000)
    size: int | None = Field(default=None, ge=16, le=1024)
    quality: int | None = Field(default=None, ge=1, le=100)
    label: Label = "none"


class NeutralRequest(BaseModel):
    """A message that may follow the options: who drives looks neutral now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    neutral: Literal["take"]


@dataclass(frozen=True)
class Frame:
    """A picture as it came: its number, from 1, its bytes, and when it was there."""

    number: int
    data: bytes
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What became of a frame: `data` is a JPEG where the state is `face`, else empty, and `reason` says why."""

    state: Literal["face", "no-face", "refused"]
    data: bytes = b""
    width: int = 0
    height: int = 0
    reason: str | None = None


def parse_message(text: str) -> StreamOptions | NeutralRequest:
    """The JSON of a text message. Raises OptionError."""
    expected = (
        f"JSON, at most {MAX_OPTIONS} characters, with any of: {', '.join(StreamOptions.model_fields)}; "
        'or {"neutral": "take"}.'
    )
    if len(text) > MAX_OPTIONS:
        raise OptionError(f"The options are {len(text)} characters long.", expected)
    try:
        return NeutralRequest.model_validate_json(text)
    except ValidationError:  # the usual message
        pass
    try:
        options = StreamOptions.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'all'}: {each['msg']}" for each in error.errors()[:SHOWN_ERRORS]
        )
        raise OptionError(f"The options are not valid: {wrong[:SHOWN_CHARACTERS]}", expected) from error
    if options.paste_back and options.size is not None:
        raise OptionError("A pasted-back picture keeps the size of the frame.", "'size' or 'paste_back'.")
    return options


def pack_answer(
    frame: Frame, answer: Answer, target: Target, dropped: int, watch: Stopwatch, neutral: NeutralState
) -> bytes:
    """The length of the header as 4 bytes, big-endian; the header, JSON in UTF-8; the picture."""
    header: dict[str, Any] = {
        "frame": frame.number,
        "state": answer.state,
        "dropped": dropped,
        "neutral": neutral,
        "timings_ms": to_milliseconds(watch.stages),
        "total_ms": round((time.monotonic() - frame.seconds) * 1000, 3),
    }
    if answer.reason is not None:
        header["reason"] = answer.reason
    if answer.data:
        header |= {"width": answer.width, "height": answer.height, "bundle": target.bundle}
    encoded = json.dumps(header).encode("ascii")
    return struct.pack(">I", len(encoded)) + encoded + answer.data


def unpack_answer(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the picture of an answer: the inverse of `pack_answer`, for clients."""
    (length,) = struct.unpack_from(">I", message)
    header: dict[str, Any] = json.loads(message[4 : 4 + length])
    return header, message[4 + length :]
