"""From a folder of results to an address that people open: ledger, queue, socket, server, and a clean end."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assay.errors import InputError, require
from assay.labels.events import dataset_event, file_digest
from assay.labels.ledger import Ledger
from assay.review.desk import Desk
from assay.review.project import Project, ProjectOptions
from assay.review.queue import Queue
from assay.review.store import ReviewStore, Shown

LOOPBACK = "127.0.0.1"
SHORTEST_TOKEN = 32


@contextmanager
def opened(
    folder: Path | str,
    source: Any = None,
    *,
    options: ProjectOptions | None = None,
    db: str | None = None,
    double: float = 0.1,
    random: float = 0.3,
    target: float = 0.01,
    seed: int = 0,
) -> Iterator[Desk]:
    """Open the results in `folder` for review, and the ledger that decisions go to.

    Parameters
    ----------
    folder, source, options : see `Project.open`.
    db : ledger of a team, `postgresql://user:password@host/database`; None for the `ledger.db` of the folder.
    double, random, target, seed : see `Queue`.

    Raises
    ------
    InputError : no results, another data set, a ledger that is about other labels.
    LedgerError : the ledger cannot be opened.
    """
    project = Project.open(folder, source, options=options)

    def shown(row: int) -> Shown:
        return Shown(project.given_name(row), project.classes[project.suggested[row]], project.row_id(row))

    ledger = Ledger.open(db or project.folder, create=True)
    try:
        begin(ledger, project)
        store = ReviewStore(ledger, shown)
    except BaseException:
        ledger.close()
        raise
    with (
        closing(store),
        closing(Queue(project, store, double=double, random=random, target=target, seed=seed)) as queue,
    ):
        yield Desk(project, store, queue, {"double": double, "random": random, "target": target})


def begin(ledger: Ledger, project: Project) -> None:
    """Begin an empty ledger with the project's data set; raise when it is about another one."""
    here = project.folder / "ledger.db"
    if len(ledger) == 0 and ledger.path != here and here.exists():
        with Ledger.open(here) as local:
            if any(True for _ in local.log(kind="verdict", limit=1)):
                words = shlex.join(["assay", "ledger", "copy", str(project.folder), str(ledger.path)])
                raise InputError(
                    f"{ledger.path} is empty, and {here} holds verdicts already: `{words}` takes them along."
                )
    with ledger.transaction():
        if len(ledger) == 0:
            ledger.append(
                [dataset_event(project.original, project.label, project.n_rows, classes=list(project.classes))]
            )
    about = ledger.dataset
    facts = {"sha256": file_digest(project.original), "n_rows": project.n_rows}
    if about.column != project.label or any(about.evidence[name] != value for name, value in facts.items()):
        raise InputError(
            f"The ledger {ledger.path} is about the column {about.column!r} of other data than {project.folder}: run "
            f"`assay {project.verb}` again into an empty folder, or name another ledger."
        )


@contextmanager
def answering(
    desk: Desk,
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    public_url: str | None = None,
    token: str | None = None,
    reviewer: str = "",
) -> Iterator[str]:
    """Serve a review from a thread of its own for as long as the block lasts; gives the link with the token.

    Parameters
    ----------
    host : the address to listen at.
    port : None takes one that follows from the folder, so that a page left open finds the server that comes back, or
        a free one where that is taken.
    public_url : the address under which reviewers reach a proxy that hands on to this server.
    token : None makes one.
    reviewer : the name of a session whose reviewer has not said one.

    Raises
    ------
    InputError : the port is taken, the host is none of this machine, the URL is none.
    MissingExtraError : starlette or uvicorn is not installed.
    """
    uvicorn = require("uvicorn", "review", "The review page")
    from assay.review.app import create_app
    from assay.review.guard import Keys

    token = token or secrets.token_urlsafe(32)
    with closing(listen(host, port, desk.project.folder)) as listening:
        number = listening.getsockname()[1]
        origins = origins_of(host, number, public_url)
        app = create_app(desk, Keys(token), origins, cookie=f"assay-{number}", reviewer=reviewer)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="assay review")
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"{origins[0]}/?token={token}"
        finally:
            server.should_exit = True
            thread.join()


def listen(host: str, port: int | None, folder: Path) -> socket.socket:
    """A socket bound to the host, at the port, or at one that follows from the folder, or at a free one."""
    if not is_address(host) and host != "localhost":
        raise InputError(f"--host is an IP address of this machine, as 127.0.0.1 or 0.0.0.0, got {host!r}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    usual = 20_000 + zlib.crc32(str(folder.resolve()).encode()) % 10_000
    for wanted in (usual, 0) if port is None else (port,):
        try:
            bound = socket.create_server((host, wanted), family=family)
            # asyncio sends small pieces at once only where the socket says TCP; else each answer waits 40 ms.
            return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=bound.detach())
        except OSError as error:
            if port is not None or wanted == 0:
                raise InputError(
                    f"The server cannot listen at {host} port {wanted}: {error.strerror}; see --host and --port."
                ) from None
    raise AssertionError


def origins_of(host: str, port: int, public_url: str | None) -> tuple[str, ...]:
    """Every origin that is ours; the first is the one to print."""
    tail = "" if port == 80 else f":{port}"
    own = [f"http://{name}{tail}" for name in (LOOPBACK, "localhost", "[::1]")]
    if not is_loopback(host):
        own = [f"http://[{host}]{tail}" if ":" in host else f"http://{host}{tail}", *own]
    return tuple(own if public_url is None else [public_origin(public_url), *own])


def public_origin(url: str) -> str:
    """The origin of the address that reviewers type, in lower case, without the usual port.

    >>> public_origin("https://Labels.example.org:443/")
    'https://labels.example.org'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--public-url {url!r} is no address: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise InputError(f"--public-url is an address as https://labels.example.org, got {url!r}.")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InputError(f"--public-url is an address without a path, for the page is at its root; got {url!r}.")
    name = parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]"
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}{'' if port in (None, usual) else f':{port}'}"


def is_address(host: str) -> bool:
    """Whether it is an IP address in digits."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server there."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_wildcard(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    return is_address(host) and ipaddress.ip_address(host).is_unspecified


def token_in(path: Path) -> str:
    """The token in a file that only its owner can read; a file that is not there is made with a new one."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(secrets.token_urlsafe(32) + "\n")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise InputError(f"Others can read the token in {path}: `chmod 600 {path}`, and change the token.")
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.replace("-", "").replace("_", "").isalnum():
        raise InputError(
            f"{path} holds no token, which has {SHORTEST_TOKEN} or more letters, digits, - and _: remove it, and a "
            "new one is made."
        )
    return token
