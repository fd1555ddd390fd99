"""The one map from exceptions to HTTP statuses, and the application/problem+json (RFC 9457) that carries them."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from service import errors
from service.logs import hide_ids
from shared.errors import DetectorUnavailableError, ImageError, LandmarkGANError, LandmarksError
from shared.landmarks import MAX_COORDINATE, SCHEMES

logger = logging.getLogger(__name__)

INFERENCE_PATH = "/v2/"
RETRY_SECONDS = 1
SHOWN_ERRORS = 5
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Kind:
    """How one kind of exception is answered. `retry`: the same request may succeed a moment later."""

    status: int
    slug: str
    title: str
    expected: str | None = None
    retry: bool = False


# What the framework itself refuses. The phrases of `http.HTTPStatus` change from one Python to the next.
FRAMEWORK_KINDS: Mapping[int, Kind] = {
    400: Kind(400, "body", "The body can't be read"),
    404: Kind(404, "not-found", "There is nothing here"),
    405: Kind(405, "method", "The method is not allowed"),
    408: Kind(408, "slow", "The client was too slow"),
    413: Kind(413, "body-too-large", "The body is too large"),
    431: Kind(431, "head-too-large", "The request's head is too large"),
}
NOT_READY = Kind(503, "not-ready", "The service is not ready", retry=True)

LANDMARKS_EXPECTED = (
    f"A list of [x, y] pairs, finite numbers within ±{MAX_COORDINATE:g}, one for each point of a scheme: "
    + ", ".join(f"{scheme.name} ({scheme.count} points)" for scheme in SCHEMES.values())
    + "."
)

KINDS: Mapping[type[Exception], Kind] = {
    LandmarksError: Kind(422, "landmarks", "The landmarks can't be used", LANDMARKS_EXPECTED),
    ImageError: Kind(400, "picture-damaged", "The picture is damaged", "A whole JPEG, PNG or WebP file."),
    errors.UnsupportedImageError: Kind(415, "picture-format", "The picture's format is not supported"),
    errors.ImageTooLargeError: Kind(413, "picture-too-large", "The picture is too large"),
    errors.UnknownTargetError: Kind(404, "unknown-target", "There is no such target"),
    errors.UnknownSchemeError: Kind(404, "unknown-scheme", "There is no such landmark scheme"),
    errors.DamagedTargetError: Kind(503, "damaged-target", "The target's bundle is damaged"),
    errors.UnnamedTargetError: Kind(422, "unnamed-target", "No target was named"),
    errors.NoFaceError: Kind(422, "no-face", "There is no face in the picture"),
    errors.FaceIndexError: Kind(422, "face-index", "The picture has fewer faces"),
    errors.OptionError: Kind(422, "options", "The options do not go together"),
    errors.MediaTypeError: Kind(415, "content-type", "The body's content type is not supported"),
    errors.InferenceRequestError: Kind(400, "inference-request", "The inference request can't be used"),
    errors.QueueFullError: Kind(503, "busy", "The service is busy", retry=True),
    errors.DeadlineError: Kind(503, "deadline", "The request took too long", retry=True),
    errors.NotReadyError: NOT_READY,
    errors.LoadFailedError: Kind(503, "load-failed", "The service could not load", "A new start; the log says why."),
    errors.IdleError: Kind(408, "idle", "The stream was idle"),
    errors.HeaderError: Kind(400, "header", "A header is wrong"),
    errors.ApiKeyError: Kind(401, "api-key", "A key is wanted"),
    errors.ForeignHostError: Kind(403, "foreign-host", "The host is another"),
    errors.ForeignPageError: Kind(403, "foreign-page", "The page is of another host"),
    errors.UnsupportedVideoError: Kind(415, "video-format", "The video's format is not supported"),
    errors.VideoTooLargeError: Kind(413, "video-too-large", "The video is too large"),
    errors.VideoDamagedError: Kind(400, "video-damaged", "The video is damaged"),
    errors.UnknownJobError: Kind(404, "unknown-job", "There is no such job"),
    errors.JobStateError: Kind(409, "job-state", "The job is not in that state"),
    errors.StorageError: Kind(507, "storage", "The service can't store this"),
    errors.MarkingError: Kind(503, "marking", "The picture can't be marked as synthetic"),
    errors.ClientGoneError: Kind(499, "client-gone", "The client hung up"),
    DetectorUnavailableError: Kind(503, "no-detector", "The landmark detector is missing"),
    LandmarkGANError: Kind(422, "refused", "The request was refused"),
}


class ProblemResponse(JSONResponse):
    """Pure ASCII, so that a lone surrogate in a client's JSON, quoted back, can't break the answer."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=True, allow_nan=False).encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Clients of the Open Inference Protocol read the member `error` alone."""
        if scope["path"].startswith(INFERENCE_PATH):
            problem = json.loads(bytes(self.body))
            self.body = self.render(problem | {"error": f"{problem['detail']} {problem.get('expected', '')}".strip()})
            self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def make_problem(
    kind: Kind,
    detail: str,
    expected: str | None = None,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """One problem as a response; the optional members are left out where there is nothing to say."""
    content: dict[str, Any] = {
        "type": f"urn:landmarkgan:problem:{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if expected or kind.expected:
        content["expected"] = expected or kind.expected
    if errors:
        content["errors"] = list(errors)
    sent = dict(headers or {})
    if kind.retry:
        sent["Retry-After"] = str(RETRY_SECONDS)
    return ProblemResponse(content, status_code=kind.status, headers=sent)


def answer_error(error: Exception) -> ProblemResponse:
    """The answer to an exception of ours."""
    kind = next(KINDS[base] for base in type(error).__mro__ if base in KINDS)
    expected = error.expected if isinstance(error, errors.ServiceError) else None
    headers = {"WWW-Authenticate": "Bearer"} if kind.status == HTTPStatus.UNAUTHORIZED else None
    return make_problem(kind, str(error), expected, headers=headers)


def answer_http_error(error: HTTPException) -> ProblemResponse:
    """The answer to what the framework refuses: unknown paths and methods, bodies too large or not readable."""
    kind = FRAMEWORK_KINDS.get(error.status_code, Kind(error.status_code, "http", "The request was refused"))
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "There is nothing at this path; /api lists the endpoints."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = "This path does not take this method; the Allow header names those it takes."
    return make_problem(kind, detail, headers=error.headers)


def answer_unread_body(cause: BaseException) -> ProblemResponse:
    """The answer to a body that could not be read, which the framework takes for 400 whatever the reason."""
    if isinstance(cause, OSError):  # an upload is spooled to disk, and that is full
        return answer_error(errors.StorageError("The upload can't be stored.", "Room on the service's disk."))
    if isinstance(cause, ClientDisconnect):
        return answer_error(errors.ClientGoneError("The client hung up, or was too slow."))
    if isinstance(cause, UnicodeDecodeError):
        detail = f"The body is not UTF-8: byte {cause.start} can't be."
    elif isinstance(cause, RecursionError):
        detail = "The body's brackets are nested too deeply."
    else:
        detail = str(cause) or "The body breaks off, or its parts are not what their headers say."
    return make_problem(FRAMEWORK_KINDS[400], detail[:SHOWN_CHARACTERS])


def list_methods(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that a path takes, of every route with it: the framework names those of the first alone."""
    methods: set[str] = set()
    for context in iter_route_contexts(app.routes):
        if context.original_route.matches(scope)[0] != Match.NONE:
            methods |= context.methods or set()
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def answer_validation_error(error: RequestValidationError) -> ProblemResponse:
    """Which fields were wrong, in words, without quoting their values: 422, or 400 for a body that is not JSON."""
    found = error.errors()
    broken = next((each for each in found if each["type"] == "json_invalid"), None)
    if broken is not None:
        detail = f"The body is not JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}."
        return make_problem(Kind(400, "json", "The body is not JSON"), detail, "A JSON object.")
    shown = [
        {
            "where": (".".join(str(part) for part in each["loc"][1:]) or str(each["loc"][0]))[:SHOWN_CHARACTERS],
            "what": str(each["msg"])[:SHOWN_CHARACTERS],
        }
        for each in found[:SHOWN_ERRORS]
    ]
    more = f" (and {len(found) - len(shown)} more)" if len(found) > len(shown) else ""
    detail = "; ".join(f"{each['where']}: {each['what']}" for each in shown) + more
    return make_problem(Kind(422, "validation", "The request's fields are not valid"), detail, errors=shown)


def answer_unforeseen(path: str, error: Exception) -> ProblemResponse:
    """The answer to what should not have happened: the log has it whole, the client not."""
    logger.error("unforeseen error at %s", hide_ids(path.encode("unicode_escape").decode()), exc_info=error)
    return make_problem(
        Kind(500, "internal", "The service failed"), "This is a fault of the service; its log has the details."
    )


def install_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem; unforeseen ones are logged and told without their trace."""

    async def handle_own(request: Request, error: Exception) -> Response:
        return answer_error(error)

    async def handle_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"Allow": ", ".join(list_methods(app, request.scope))}
        if error.status_code == HTTPStatus.BAD_REQUEST and error.__cause__ is not None:
            return answer_unread_body(error.__cause__)
        return answer_http_error(error)

    async def handle_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer_validation_error(error)

    async def handle_unforeseen(request: Request, error: Exception) -> Response:
        return answer_unforeseen(request.scope["path"], error)

    app.add_exception_handler(LandmarkGANError, handle_own)
    app.add_exception_handler(HTTPException, handle_http)
    app.add_exception_handler(RequestValidationError, handle_validation)
    app.add_exception_handler(Exception, handle_unforeseen)
