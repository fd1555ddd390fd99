"""Who is let in: requests to a host that is ours, from pages that are ours, with a key where one is wanted.

Browsers let any page send to any address, a service on the loopback included, and a name that an attacker's DNS moves
to 127.0.0.1 makes even the answers readable. The Host header names the host that the page believes to talk to.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import answer_error
from service.errors import ApiKeyError, ForeignHostError, ForeignPageError, HeaderError
from service.settings import Settings

HOST = re.compile(r"(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
ONCE = ("host", "content-type", "content-length", "authorization")
READING = ("GET", "HEAD", "OPTIONS")
KEY_COOKIE = "landmarkgan_key"
REFUSED = "landmarkgan.refused"
PROBES = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready")


class Admission:
    """ASGI middleware: what is refused is answered as a problem, by the stream itself where it is a WebSocket.

    The Host must be an IP address, which no DNS can move, localhost, or of `allowed_origins`, where the service listens
    on the loopback or such origins are given; elsewhere its name can't be known. With `api_keys`, all but the probes,
    the pages and what they load wants one: as a bearer, or from the pages in a cookie, since pictures, videos and
    WebSockets of a page can't carry a header.
    """

    def __init__(self, app: ASGIApp, settings: Settings, pages: Iterable[str]) -> None:
        self.app = app
        self.origins = frozenset(settings.allowed_origins)
        self.names: frozenset[str] | None = None
        if self.origins or is_loopback(settings.host):
            names = ("localhost", settings.host, *(urlsplit(origin).hostname or "" for origin in self.origins))
            self.names = frozenset(name.lower() for name in names)
        self.keys = [hashlib.sha256(key.get_secret_value().encode()).digest() for key in settings.api_keys]
        self.open = frozenset((*PROBES, *pages))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            try:
                host = self.check_host(headers)
                if scope["type"] == "websocket" or scope["method"] not in READING:
                    self.check_origin(headers, host)
                if self.keys and not self.is_open(scope["path"]):
                    self.check_key(headers)
            except (HeaderError, ForeignHostError, ForeignPageError, ApiKeyError) as error:
                if scope["type"] == "http":
                    return await answer_error(error)(scope, receive, send)
                scope[REFUSED] = error  # a stream tells all its errors in one way, which begins with accepting it
        return await self.app(scope, receive, send)

    def check_host(self, headers: Headers) -> str:
        """The Host header. Raises HeaderError and ForeignHostError."""
        for name in ONCE:
            if len(headers.getlist(name)) > 1:
                raise HeaderError(f"The header {name.title()} comes more than once.", "One such header.")
        host = headers.get("host", "")
        match = HOST.fullmatch(host)
        if match is None:
            raise HeaderError(
                "The Host header is missing or no host.", "Host: a name or address, with or without port."
            )
        name = match["name"].lower()
        if self.names is not None and name not in self.names and not is_address(name):
            raise ForeignHostError(
                "This service does not answer for that host.",
                "An IP address or localhost as the Host, or one of LANDMARKGAN_ALLOWED_ORIGINS.",
            )
        return host

    def check_origin(self, headers: Headers, host: str) -> None:
        """Raises ForeignPageError for what a page of another host sends."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = origin is not None and urlsplit(origin).netloc.lower() == host.lower()
        foreign = site == "cross-site" if origin is None else not own
        if foreign and origin not in self.origins:
            raise ForeignPageError(
                "A page of another host may not send anything here.",
                "A page that this service serves, or one of LANDMARKGAN_ALLOWED_ORIGINS.",
            )

    def check_key(self, headers: Headers) -> None:
        """Raises ApiKeyError. Every key is compared whole, so that the time tells nothing of any."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = unquote(cookie_parser(headers.get("cookie", "")).get(KEY_COOKIE, ""))
        if not is_known(given.strip(), self.keys):
            raise ApiKeyError("The request has no key of this service.", "Authorization: Bearer and a key.")

    def is_open(self, path: str) -> bool:
        """Whether the path is for everybody: probes, and the pages, which ask for the key."""
        return path in self.open or path.startswith("/web/")


def is_known(key: str, digests: Sequence[bytes]) -> bool:
    """Whether a key has one of the SHA-256 digests."""
    given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return sum(hmac.compare_digest(given, each) for each in digests) > 0


def is_address(name: str) -> bool:
    """Whether a host's name is an IP address, as Host headers have it."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether what listens on this address is reached from this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
