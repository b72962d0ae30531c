"""What stands between the network and the review: host, token, session, cross-site requests, size, headers.

Everything behind the guard may trust that a request came to a name that is ours, from a page that is ours or from no
page at all, by somebody who was given the token, with a body of bounded size. The rules, in the order of their checks:

1. `Host` is one of ours, so that a foreign name that resolves to this machine (DNS rebinding) reaches nothing.
2. `Origin`, where a browser sends it, is ours, and `Sec-Fetch-Site` does not say that another site asks for data.
3. The token comes once, as `/?token=...`, and is answered with a cookie that scripts cannot read and other sites cannot
   send. The cookie names the session and its reviewer and is signed with the token: nothing is stored, so a server that
   starts again with the same token, or a second one beside it, knows its sessions.
4. What is not a GET carries the session's own word in the header `X-Assay`. It depends on the reviewer: a page opened
   under one name cannot record under another that was chosen in a second tab.
5. A body is JSON of at most 64 KiB that arrives within ten seconds.

Every answer, refusals too, has the security headers. This file needs the standard library alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 64 * 1024
BODY_SECONDS = 10.0
MAX_TARGET = 8 * 1024
WRONG_TOKENS = 20
"""Wrong tokens in a minute after which the next ones are told to wait. The right token is never held up."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
# Not a redirect: after a link in a mail, a browser would follow it without the strict cookie.
WELCOME = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>assay review</title>"
    '<link rel=icon href="data:,"><meta http-equiv=refresh content="0; url=/">'
    '<p><a href="/">Go on to the review</a></html>'
)


@dataclass(frozen=True)
class Session:
    """One browser: a random name of its own, and who reviews there.

    Parameters
    ----------
    id : random, so that two browsers differ.
    reviewer : the name that its verdicts are recorded under; "" before somebody said it.
    """

    id: str
    reviewer: str = ""


@dataclass(frozen=True)
class Keys:
    """What is made from the token: cookies and the words that a POST must carry.

    >>> keys = Keys("t" * 43)
    >>> cookie = keys.cookie(Session("abc", "anna"))
    >>> keys.session(cookie)
    Session(id='abc', reviewer='anna')
    >>> keys.session(cookie.replace("abc", "abd")) is None
    True
    """

    token: str

    def fits(self, token: str) -> bool:
        """Whether this is the token; takes as long for a near miss as for a far one."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.token.encode())

    def cookie(self, session: Session) -> str:
        """The signed value of a session's cookie."""
        name = base64.urlsafe_b64encode(session.reviewer.encode()).decode().rstrip("=")
        return f"{session.id}.{name}.{self._sign('session', session.id, name)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie that was signed here, else None."""
        parts = cookie.split(".")
        if len(parts) != 3 or not cookie.isascii():
            return None
        number, name, signature = parts
        if not hmac.compare_digest(signature, self._sign("session", number, name)):
            return None
        return Session(number, base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())

    def csrf(self, session: Session) -> str:
        """The word that a POST of this session, under this name, carries in `X-Assay`."""
        return self._sign("post", session.id, session.reviewer)

    def _sign(self, *words: str) -> str:
        return hmac.new(self.token.encode(), json.dumps(words).encode(), hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware that lets through only what the rules of this file allow.

    The session is put into `scope["session"]`; the whole body of a POST is read before the app is called.

    Parameters
    ----------
    app : the application behind it.
    keys : made from the token.
    origins : every `scheme://host[:port]` under which the page is reached, in lower case.
    cookie : the cookie's name; browsers share cookies between ports, so two servers need two names.
    reviewer : the name that a new session has until its reviewer says another.
    """

    def __init__(
        self, app: App, keys: Keys, origins: Collection[str], *, cookie: str = "assay", reviewer: str = ""
    ) -> None:
        self.app, self.keys, self.cookie, self.reviewer = app, keys, cookie, reviewer
        self.origins = frozenset(origins)
        self.hosts = frozenset(origin.partition("://")[2] for origin in origins)
        self._wrong: deque[float] = deque(maxlen=WRONG_TOKENS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then hand it on or refuse it with one sentence."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = with_headers(send)
        headers = scope["headers"]
        fault = self._foreign(scope["path"], headers)
        if fault is None and len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET:
            fault = 414, "The address is too long."
        if fault is not None:
            await refuse(send, *fault)
            return
        session = self._session(headers)
        if scope["path"] == "/" and b"token=" in scope["query_string"]:
            await self._welcome(scope, session, send)
            return
        if session is None:
            await refuse(send, 401, "Open the link with the token that `assay review` printed when it started.")
            return
        if scope["method"] not in ("GET", "HEAD"):
            sent = one(headers, b"x-assay")
            if sent is None or not hmac.compare_digest(sent.encode(), self.keys.csrf(session).encode()):
                await refuse(send, 403, "This page is out of date: load it again, then send the verdict once more.")
                return
            body = await self._body(headers, receive)
            if isinstance(body, tuple):
                await refuse(send, *body)
                return
            receive = body
        scope["session"] = session
        await self.app(scope, receive, send)

    def set_cookie(self, session: Session) -> str:
        """The value of a `Set-Cookie` header for a session."""
        safe = "; Secure" if any(origin.startswith("https://") for origin in self.origins) else ""
        return f"{self.cookie}={self.keys.cookie(session)}; Path=/; HttpOnly; SameSite=Strict{safe}"

    def _foreign(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        """What is wrong with where a request comes from, or None."""
        if (one(headers, b"host") or "").lower() not in self.hosts:
            return 403, "This server answers only under the address that `assay review` printed."
        origins = every(headers, b"origin")
        if origins and (len(origins) > 1 or origins[0].lower() not in self.origins):
            return 403, "Another site sent this request."
        # Following a link to the page is fine; asking for data, pictures or scripts from elsewhere is not.
        if path != "/" and not set(every(headers, b"sec-fetch-site")) <= {"same-origin", "none"}:
            return 403, "Another site sent this request."
        return None

    def _session(self, headers: Iterable[tuple[bytes, bytes]]) -> Session | None:
        for header in every(headers, b"cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self.cookie and (found := self.keys.session(value)) is not None:
                    return found
        return None

    async def _welcome(self, scope: Scope, session: Session | None, send: Send) -> None:
        """Exchange the right token for a cookie; a session that is there stays."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if len(given) == 1 and self.keys.fits(given[0]):
            cookie = self.set_cookie(session or Session(secrets.token_urlsafe(16), self.reviewer))
            await answer(send, 200, WELCOME.encode(), "text/html; charset=utf-8", {"set-cookie": cookie})
            return
        if self._many_wrong():
            await refuse(send, 429, "Too many wrong tokens: wait a minute.", {"retry-after": "60"})
            return
        self._wrong.append(time.monotonic())
        if self._many_wrong():
            client = (scope.get("client") or ["?"])[0]
            print(f"{WRONG_TOKENS} wrong tokens within a minute, the last from {client}.", file=sys.stderr)
        await refuse(send, 401, "This token is not the one that `assay review` printed when it started last.")

    def _many_wrong(self) -> bool:
        return len(self._wrong) == WRONG_TOKENS and time.monotonic() - self._wrong[0] < 60

    async def _body(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> Receive | tuple[int, str]:
        """Read the body of a POST; what is returned gives it again, or says what is wrong with it."""
        too_large = 413, f"The request has more than {MAX_BODY // 1024} KiB."
        if (one(headers, b"content-type") or "").partition(";")[0].strip().lower() != "application/json":
            return 400, "Send JSON, with Content-Type application/json."
        length = one(headers, b"content-length")
        if length is not None and length.isdigit() and int(length[:18]) > MAX_BODY:
            return too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 400, "The request ended early."
                    body += message.get("body", b"")
                    if len(body) > MAX_BODY:
                        return too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            return 408, f"The request took longer than {BODY_SECONDS:.0f} seconds."
        whole: deque[Message] = deque([{"type": "http.request", "body": bytes(body), "more_body": False}])

        async def again() -> Message:
            return whole.popleft() if whole else await receive()

        return again


def every(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """All values of a header."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The value of a header that comes exactly once, else None."""
    values = every(headers, name)
    return values[0] if len(values) == 1 else None


def with_headers(send: Send) -> Send:
    """A `send` that adds the security headers; an answer that brings its own policy keeps it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = list(message.get("headers", []))
            names = {name.lower() for name, _ in sent}
            sent += [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in names]
            message = {**message, "headers": sent}
        await send(message)

    return sending


async def answer(send: Send, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
    """Send a whole answer."""
    pairs = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
    start = [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
    """Send one sentence as JSON."""
    await answer(send, status, json.dumps({"error": sentence}).encode(), "application/json", headers)
