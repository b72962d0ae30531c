"""Hostile requests as bytes, made by a grammar; see `bench.review.fuzz`."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from assay.review.guard import MAX_BODY

TOKEN = "fuzz-" + "t" * 40
N_ROWS = 60
ROWS = (
    *("0", "1", "59", "60", "-1", "1e3", "0x1", "9" * 30, "9" * 5000, "\u0661", "NaN", "", "1.0", "%2e%2e", "null"),
    "1;2",
)
FILES = (
    *(
        "image",
        "mask0",
        "..",
        "../../secret.png",
        "..%2f..%2fsecret.png",
        "%2e%2e/%2e%2e/secret.png",
        "....//secret.png",
    ),
    *("/etc/passwd", "%2fetc%2fpasswd", "link.png", "evil.svg", "image%00.png", "image\\..\\x", "C:\\x", "~root"),
    *("page.html", "review.css", "api.js", "guard.py", "__init__.py", "../guard.py", "", ".", "PAGE.HTML", "x" * 3000),
)
QUERIES = (
    *("", "?skip=1,2", "?skip=" + "1," * 2000, "?skip=-1", "?skip=a", "?limit=5&offset=3", "?limit=-1", "?limit=%00"),
    *("?offset=" + "9" * 40, "?limit=1&limit=2", "?=&&;%", "?%FF=%FE", "?limit=\u0661"),
)
ROUTES = (
    *("/", "/api/session", "/api/next", "/api/verdicts", "/api/undo", "/api/release", "/api/upcoming", "/api/history"),
    *("/api/progress", "/api/decisions.csv", "/favicon.ico", "/api", "/api/", "//", "/.git/config", "/static/"),
    *("/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/api/next/", "/API/NEXT", "http://evil.example/", "*"),
    *("/\u00e9", "/%ff%00"),
)
METHODS = (
    *("GET",) * 12,
    *("POST",) * 10,
    *("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "B\0"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, 1e308, "", "x", "\0", "\ud800", "=1+1", "<script>", "\u202e", [], {}),
    *([[]], {"row": 1}, "x" * 5000, "given", "random", 59, 60, "1", [1, "2", None], list(range(200))),
)
NOISE = (
    *(b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"row": NaN}', b'{"row": 1, "row": 2}', b"[" * 60_000),
    *(b'{"a":' * 9000, b" " * (MAX_BODY + 1), b'{"row": 1e999}', b'{"row": ' + b"9" * 5000 + b"}", b"\0" * 10),
)


@dataclass
class Request:
    """One request as bytes, and what is wrong with it."""

    raw: bytes
    wrong: set[str] = field(default_factory=set)
    method: str = "GET"
    key: str | None = None


@dataclass
class Answer:
    """What came back; status 0 when the server hung up."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One reviewer's session, and requests that abuse it."""

    def __init__(self, port: int, rng: np.random.Generator) -> None:
        self.port, self.rng, self.n = port, rng, 0
        self.cookie, self.csrf = "", ""
        self.sign_in("fuzz")

    def sign_in(self, name: str) -> None:
        """Take a session and say a name, as the page does."""
        welcome = self.plain("GET", f"/?token={TOKEN}")
        self.cookie = welcome.headers["set-cookie"].partition(";")[0]
        self.csrf = json.loads(self.plain("GET", "/api/session").body)["csrf"]
        answer = self.plain("POST", "/api/session", {"reviewer": name})
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.csrf = json.loads(answer.body)["csrf"]

    def plain(self, method: str, path: str, sent: Any = None) -> Answer:
        """A request as the page sends it."""
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Connection: close",
            f"Cookie: {self.cookie}",
        ]
        body = b"" if sent is None else json.dumps(sent).encode()
        if method != "GET":
            head += [f"X-Assay: {self.csrf}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        return exchange(self.port, "\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def pick(self, values: Any) -> Any:
        """One of some values."""
        return values[int(self.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return bool(self.rng.random() < share)

    def request(self) -> Request:
        """The next request."""
        if self.chance(0.02):
            return Request(
                bytes(self.rng.integers(0, 256, int(self.rng.integers(1, 400)), dtype=np.uint8)) + b"\r\n\r\n",
                {"noise"},
            )
        made = Request(b"", method=self.pick(METHODS))
        path = self.pick(ROUTES)
        if self.chance(0.5):
            row, name = self.pick(ROWS), self.pick(FILES)
            path = self.pick(
                [f"/api/rows/{row}", f"/api/rows/{row}/neighbours", f"/api/images/{row}/{name}", f"/static/{name}"]
            )
        if made.method == "POST" and self.chance(0.7):
            path = self.pick(["/api/verdicts", "/api/verdicts", "/api/undo", "/api/release", "/api/session"])
        path += self.pick(QUERIES) if self.chance(0.3) else ""
        if self.chance(0.03):
            path, made.wrong = (
                f"/?token={self.pick(['', 'x', TOKEN[:-1], TOKEN + 'x', quote(TOKEN[::-1]), '%00', chr(233)])}",
                {"token"},
            )
        body = self.body(made) if made.method != "GET" or self.chance(0.1) else b""
        head = [
            f"{made.method} {path} HTTP/1.1",
            *self.sender(made, path),
            *self.proof(made),
            *self.framing(made, body),
        ]
        made.raw = "\r\n".join(head).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body
        if self.chance(0.01):
            cut = int(self.rng.integers(len(made.raw)))
            made.raw, made.wrong = made.raw[:cut] + b"\0" + made.raw[cut + 1 :], made.wrong | {"noise"}
        return made

    def sender(self, made: Request, path: str) -> list[str]:
        """Host, origin and what a browser says about the site."""
        port = self.port
        right = [f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"]
        evil = [
            *("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "127.0.0.1", "", "\u0131"),
            *(f"127.0.0.1:{port + 1}", f"127.0.0.1:{port}@evil.example", f"127.0.0.1:{port}, evil.example"),
            f"0.0.0.0:{port}",
        ]
        head = []
        if self.chance(0.1):
            made.wrong.add("host")
            head += self.pick([[], [f"Host: {self.pick(evil)}"], [f"Host: {right[0]}", f"Host: {self.pick(evil)}"]])
        else:
            head.append(f"Host: {self.pick(right)}")
        if self.chance(0.3):
            wrong = self.chance(0.2)
            bad = [
                "null",
                "http://evil.example",
                f"https://127.0.0.1:{port}",
                f"http://127.0.0.1:{port + 1}",
                "",
                f"http://127.0.0.1:{port}/",
            ]
            head.append(f"Origin: {self.pick(bad) if wrong else f'http://127.0.0.1:{port}'}")
            made.wrong |= {"origin"} if wrong else set()
        if self.chance(0.1):
            site = self.pick(["same-origin", "none", "same-site", "cross-site", "x", ""])
            head.append(f"Sec-Fetch-Site: {site}")
            if site not in ("same-origin", "none") and path.partition("?")[0] != "/":
                made.wrong.add("site")
        return head

    def proof(self, made: Request) -> list[str]:
        """The cookie and the session's word."""
        head, (name, _, value) = [], self.cookie.partition("=")
        if self.chance(0.15):
            made.wrong.add("cookie")
            bad = [
                "",
                value[:-1],
                value + "0",
                value.replace(".", ".eHh4", 1),
                "..",
                "a.b.c",
                TOKEN,
                value.upper(),
                "\u00e9.x.y",
                "x" * 9000,
            ]
            head += self.pick([[], [f"Cookie: {name}={self.pick(bad)}"], [f"Cookie: other={value}"]])
        else:
            head.append(f"Cookie: a=b; {self.cookie}; c")
        if made.method not in ("GET", "HEAD"):
            if self.chance(0.15):
                made.wrong.add("csrf")
                head += self.pick(
                    [
                        [],
                        ["X-Assay: "],
                        [f"X-Assay: {self.csrf[:-1]}"],
                        ["X-Assay: \u00e9"],
                        [f"X-Assay: {self.csrf}"] * 2,
                    ]
                )
            else:
                head.append(f"X-Assay: {self.csrf}")
        return head

    def framing(self, made: Request, body: bytes) -> list[str]:
        """Length and type of the body."""
        head = [
            self.pick(
                ["Content-Type: application/json"] * 12
                + ["Content-Type: text/plain", "X: y", "Content-Type: application/json; charset=utf-8"]
            )
        ]
        if self.chance(0.05):
            length = self.pick(["-1", "9" * 30, "x", str(len(body) + 7), "0", "1e3", f"{len(body)}, {len(body)}"])
            made.wrong.add("length")
            return [*head, f"Content-Length: {length}", "Connection: close"]
        return [*head, f"Content-Length: {len(body)}", "Connection: close"]

    def body(self, made: Request) -> bytes:
        """A verdict, mostly with something odd in it, or no JSON at all."""
        if self.chance(0.15):
            made.wrong.add("body")
            return bytes(self.pick(NOISE))
        self.n += 1
        made.key = f"fuzz-{self.n:08d}"
        sent: dict[str, Any] = {
            "row": int(self.rng.integers(N_ROWS)),
            "verdict": self.pick(["given", "suggested", "both", "neither", "skip"]),
        }
        sent |= {
            "key": made.key,
            "seconds": 1.5,
            "role": "first",
            "sampled": "flagged",
            "note": self.pick([None, "=1+1", "<script>", "\u202e"]),
        }
        sent |= {
            "reviewer": self.pick(["fuzz", "fuzz", "", "\0", 3, "x" * 100, "<b>", "\u202e", "\ud800"]),
            "rows": self.pick(ODD),
        }
        if self.chance(0.5):
            name = self.pick(["row", "verdict", "key", "seconds", "role", "sampled", "note", "label", "rows"])
            made.key = made.key if name != "key" else None
            sent[name] = self.pick(ODD)
        return json.dumps(sent).encode()


def exchange(port: int, raw: bytes, patience: float = 30.0) -> Answer:
    """Send bytes, read one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        with contextlib.suppress(ConnectionError):  # a refusal may come before all was sent
            connection.sendall(raw)
        answer = http.client.HTTPResponse(connection, method=raw.partition(b" ")[0].decode("latin-1"))
        try:
            answer.begin()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (http.client.HTTPException, OSError):
            return Answer(0, {}, b"")
