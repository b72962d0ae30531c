"""The review over HTTP: thin routes that check what came, ask the desk in a thread, and answer in JSON.

Errors are `{"error": "one sentence"}`: 400 for what the page sent, 404 for what is not there, 409 for a row that was
decided meanwhile, 503 when the ledger or the data cannot be used just now, so that the page keeps the verdict and tries
again. Who may ask at all is the business of `assay.review.guard`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, InputError, require
from assay.labels.ledger import LedgerError
from assay.review.desk import Desk, NotThere
from assay.review.guard import Guard, Keys, Session
from assay.review.posted import decision_of, key_of, number_of, read_object, reviewer_of, rows_of
from assay.review.queue import RowDecided

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
PICTURE_POLICY = {"content-security-policy": "default-src 'none'; sandbox"}
MOST = 1000
"""Rows of one page of a list."""


def create_app(desk: Desk, keys: Keys, origins: Collection[str], *, cookie: str = "assay", reviewer: str = "") -> Guard:
    """Put the routes behind their guard; the result is an ASGI application.

    Parameters
    ----------
    desk : what is served.
    keys, origins, cookie, reviewer : see `Guard`.

    Raises
    ------
    MissingExtraError : starlette is not installed.
    """
    applications = require("starlette.applications", "review", "The review page")
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import Response
    from starlette.routing import Route

    def as_json(value: Any, status: int = 200) -> Response:
        return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "page.html")
        if name not in static:
            raise NotThere("There is no such file.")
        content, kind = static[name]
        return Response(content, media_type=f"{kind}; charset=utf-8")

    async def session(request: Request) -> Response:
        found: Session = request.scope["session"]
        if request.method == "POST":
            found = Session(found.id, reviewer_of(read_object(await request.body())))
        answer = as_json(await run_in_threadpool(desk.session, found, keys.csrf(found)))
        if request.method == "POST":
            answer.headers["set-cookie"] = guard.set_cookie(found)
        return answer

    async def next_row(request: Request) -> Response:
        skip = [word for word in request.query_params.get("skip", "").split(",") if word][:MOST]
        rows = {number_of(word, desk.project.n_rows - 1, "skip") for word in skip}
        return as_json(await run_in_threadpool(desk.next, who(request), rows))

    async def verdicts(request: Request) -> Response:
        sent = read_object(await request.body())
        decision = decision_of(sent, desk.project, who(request))
        replaces = key_of(sent, "replaces") if sent.get("replaces") is not None else None
        return as_json(await run_in_threadpool(desk.record, decision, replaces))

    async def undo(request: Request) -> Response:
        return as_json(await run_in_threadpool(desk.undo, who(request)))

    async def release(request: Request) -> Response:
        rows = rows_of(read_object(await request.body()), desk.project)
        return as_json(await run_in_threadpool(desk.release, who(request), rows))

    async def row(request: Request) -> Response:
        return as_json(await run_in_threadpool(desk.row, who(request), row_of(request)))

    async def neighbours(request: Request) -> Response:
        return as_json(await run_in_threadpool(desk.neighbours, row_of(request)))

    async def image(request: Request) -> Response:
        name = request.path_params["name"]
        content, kind = await run_in_threadpool(desk.image, row_of(request), name)
        return Response(content, media_type=kind, headers=PICTURE_POLICY)

    async def upcoming(request: Request) -> Response:
        offset = number_of(request.query_params.get("offset", "0"), desk.project.n_rows, "offset")
        limit = number_of(request.query_params.get("limit", "50"), MOST, "limit")
        return as_json(await run_in_threadpool(desk.upcoming, offset, limit))

    async def history(request: Request) -> Response:
        limit = number_of(request.query_params.get("limit", "50"), MOST, "limit")
        return as_json(await run_in_threadpool(desk.history, who(request), limit))

    async def progress(request: Request) -> Response:
        del request
        return as_json(await run_in_threadpool(desk.queue.progress))

    async def decisions(request: Request) -> Response:
        del request
        content = await run_in_threadpool(desk.decisions)
        headers = {"content-disposition": 'attachment; filename="decisions.csv"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    def row_of(request: Request) -> int:
        try:
            return number_of(request.path_params["row"], desk.project.n_rows - 1, "row")
        except AssayError as error:
            raise NotThere(str(error)) from None

    async def told(request: Request, error: Exception) -> Response:
        del request
        status, sentence = status_of(error)
        return as_json({"error": sentence}, status)

    async def told_by_starlette(request: Request, error: HTTPException) -> Response:
        del request
        sentence = "There is no such page." if error.status_code == 404 else f"{error.detail}."
        answer = as_json({"error": sentence}, error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    static = static_files()
    get, post = ["GET"], ["POST"]
    routes: list[tuple[str, Callable[[Request], Awaitable[Response]], list[str]]] = [
        ("/", page, get),
        ("/static/{name}", page, get),
        ("/api/session", session, get + post),
        ("/api/next", next_row, get),
        ("/api/verdicts", verdicts, post),
        ("/api/undo", undo, post),
        ("/api/release", release, post),
        ("/api/rows/{row}", row, get),
        ("/api/rows/{row}/neighbours", neighbours, get),
        ("/api/images/{row}/{name:path}", image, get),
        ("/api/upcoming", upcoming, get),
        ("/api/history", history, get),
        ("/api/progress", progress, get),
        ("/api/decisions.csv", decisions, get),
    ]
    app = applications.Starlette(
        routes=[Route(path, function, methods=methods) for path, function, methods in routes],
        exception_handlers={HTTPException: told_by_starlette, AssayError: told, OSError: told, Exception: told},
    )
    app.router.redirect_slashes = False
    guard = Guard(app, keys, origins, cookie=cookie, reviewer=reviewer)
    return guard


def who(request: Request) -> str:
    """The reviewer of a request's session."""
    found: Session = request.scope["session"]
    if not found.reviewer:
        raise InputError("Say who reviews first.")
    return found.reviewer


def status_of(error: Exception) -> tuple[int, str]:
    """The status and the sentence for an error; a fault of ours is for the operator's log, not for the page."""
    statuses = ((NotThere, 404), (RowDecided, 409), (LedgerError, 503), (AssayError, 400))
    for kind, status in statuses:
        if isinstance(error, kind):
            return status, str(error)
    if isinstance(error, OSError):
        return 503, f"The data cannot be read just now: {error.strerror or error}."
    return 500, "The server made a mistake; what it was is written where `assay review` runs."


def static_files() -> dict[str, tuple[bytes, str]]:
    """The page's files by their exact names, with their types, read once."""
    found = {}
    for entry in (files("assay.review") / "static").iterdir():
        kind = TYPES.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            found[entry.name] = (entry.read_bytes(), kind)
    return found
