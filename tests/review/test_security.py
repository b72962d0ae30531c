"""What the review page promises to keep out, rule by rule, against a real server; and a short run of the fuzzer."""

import contextlib
import http.client
import json
import re
import socket
import time
from urllib.parse import quote, urlsplit

import httpx
import pytest
from tests.review.served import TOKEN, Page, make_results, served

from assay.review import guard
from assay.review.guard import HEADERS, MAX_BODY, POLICY, WRONG_TOKENS, Keys, Session
from assay.review.project import ProjectOptions
from bench.review.fuzz import fuzz
from bench.review.hostile import MARK, make_project


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def address(hostile):
    with served(hostile, options=ProjectOptions(boxes="boxes", masks="masks")) as (_, address):
        yield address


@pytest.fixture
def page(address):
    with Page(address, "anna") as page:
        yield page


def raw(address: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """A request with exactly these headers, the path as it is."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


ALL = [
    "/",
    "/static/api.js",
    "/api/session",
    "/api/next",
    "/api/rows/1",
    "/api/images/1/image",
    "/api/decisions.csv",
    "/nothing",
]


@pytest.mark.parametrize("path", ALL)
def test_nothing_without_the_token(address, path):
    assert httpx.get(address + path).status_code == 401
    assert httpx.post(address + path, json={}).status_code == 401


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "%00", quote("é" * 40)])
def test_a_wrong_token_gives_no_session(hostile, token):
    with served(hostile) as (_, address):
        answer = httpx.get(f"{address}/?token={token}")
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert httpx.get(f"{address}/?token={TOKEN}&token={TOKEN}").status_code == 401, "which one is meant?"


def test_many_wrong_tokens_wait_and_the_right_one_does_not(hostile, capfd):
    with served(hostile) as (_, address):
        answers = [httpx.get(f"{address}/?token=guess-{at}") for at in range(WRONG_TOKENS + 5)]
        assert [answer.status_code for answer in answers] == [401] * WRONG_TOKENS + [429] * 5
        assert answers[-1].headers["retry-after"] == "60"
        assert httpx.get(f"{address}/?token={TOKEN}").status_code == 200
    assert capfd.readouterr().err.count("wrong tokens within a minute") == 1


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_sites_cannot_use(address):
    answer = httpx.get(f"{address}/?token={TOKEN}")
    cookie = answer.headers["set-cookie"]
    port = urlsplit(address).port
    assert cookie.startswith(f"assay-{port}="), "browsers share cookies between ports"
    assert set(cookie.split("; ")[1:]) == {"HttpOnly", "SameSite=Strict", "Path=/"}
    assert TOKEN not in cookie
    assert TOKEN not in answer.text
    assert 'http-equiv=refresh content="0; url=/"' in answer.text, "the token leaves the address bar"


def test_the_cookie_is_for_tls_alone_where_reviewers_come_by_tls():
    told = guard.Guard(None, Keys(TOKEN), ["https://labels.example.org", "http://127.0.0.1:1"])  # type: ignore[arg-type]
    assert told.set_cookie(Session("a", "b")).endswith("; Secure")


def test_a_cookie_is_signed(address, page):
    (cookie,) = page.cookies.jar
    number, name, signature = cookie.value.split(".")
    for forged in (
        f"{number}.YmVu.{signature}",
        f"x.{name}.{signature}",
        f"{number}.{name}.{'0' * 64}",
        f"{number}.{name}.",
        "..",
        "é",
    ):
        status, _ = raw(
            address, "GET", "/api/session", {"Host": urlsplit(address).netloc, "Cookie": f"{cookie.name}={forged}"}
        )
        assert status == 401, forged
    other = Keys("another-token-" + "y" * 32).cookie(Session(number, "anna"))
    assert httpx.get(f"{address}/api/session", cookies={cookie.name: other}).status_code == 401


def test_a_post_needs_the_word_of_its_session(address, page):
    right = page.headers["X-Assay"]
    with Page(address, "ben") as ben:
        strange = ben.headers["X-Assay"]
    for word in (None, "", right[:-1], right.upper(), strange, TOKEN):
        headers = {"X-Assay": word} if word is not None else {}
        del page.headers["X-Assay"]
        assert page.post("/api/undo", json={}, headers=headers).status_code == 403, word
        page.headers["X-Assay"] = right
    assert page.post("/api/undo", json={}).status_code == 200


def test_a_page_under_one_name_cannot_record_under_another(address, page):
    """Two tabs share the cookie. The second takes another name; the first must not record under it."""
    first = page.headers["X-Assay"]
    page.sent("/api/session", reviewer="ben").raise_for_status()
    assert page.headers["X-Assay"] == first
    answer = page.sent("/api/verdicts", row=1, verdict="given", key="key-of-anna", role="first", sampled="flagged")
    assert answer.status_code == 403
    assert page.get("/api/history").json() == []


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1.evil.example:{port}", "0.0.0.0:{port}", "", "localhost:1"]
)
def test_another_host_reaches_nothing(address, page, host):
    """DNS rebinding: the browser believes that evil.example is this machine, and says so in `Host`."""
    named = host.format(port=urlsplit(address).port)
    (cookie,) = page.cookies.jar
    proof = {"Cookie": f"{cookie.name}={cookie.value}", "X-Assay": page.headers["X-Assay"]}
    for path in (*ALL, f"/?token={TOKEN}"):
        status, body = raw(address, "GET", path, {"Host": named, **proof})
        assert status == 403
        assert b"set-cookie" not in body
    twice = (f"GET / HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nHost: evil.example\r\n\r\n").encode()
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as connection:
        connection.sendall(twice)
        assert re.match(rb"HTTP/1.1 40[03]", connection.recv(100))


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}", ""]
)
def test_another_origin_asks_for_nothing(address, page, origin):
    named = {"Origin": origin.format(port=urlsplit(address).port)}
    assert page.post("/api/undo", json={}, headers=named).status_code == 403
    assert page.get("/api/next", headers=named).status_code == 403
    assert page.post("/api/undo", json={}, headers={"Origin": address}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_the_page_and_no_more(page, site):
    """A server on another port of this machine is of the same site, so that even a strict cookie is sent along."""
    for path in ALL[1:]:
        assert page.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403
    assert page.get("/", headers={"Sec-Fetch-Site": site}).status_code == 200
    assert page.get("/api/session", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_a_form_of_another_site_cannot_post(page):
    """What a form can send without asking first: three types, none of them JSON."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = page.post("/api/undo", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 400
    assert "access-control-allow-origin" not in page.options("/api/undo").headers


def test_every_answer_has_the_security_headers(address, page):
    answers = [page.get(path) for path in ALL]
    answers += [page.post("/api/undo", json={}), page.sent("/api/verdicts"), httpx.get(address), page.get("/?token=x")]
    answers += [
        page.get("/api/images/1/nothing"),
        page.get("/api/session", headers={"Host": "evil.example"}),
        page.put("/"),
    ]
    for answer in answers:
        picture = answer.headers["content-type"].startswith("image/")
        policy = "default-src 'none'; sandbox" if picture else POLICY
        for name, value in (HEADERS | {"content-security-policy": policy}).items():
            assert answer.headers[name] == value
        assert "server" not in answer.headers
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_a_body_has_an_end(address, page, monkeypatch):
    json_type = {"content-type": "application/json"}
    assert page.post("/api/undo", content=b" " * MAX_BODY, headers=json_type).status_code == 200
    assert page.post("/api/undo", content=b" " * (MAX_BODY + 1), headers=json_type).status_code == 413
    chunks = (b" " * 1024 for _ in range(1000))  # without a Content-Length
    with contextlib.suppress(httpx.WriteError):  # it may be refused and closed before all was sent
        assert page.post("/api/undo", content=chunks, headers=json_type).status_code == 413
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.3)
    (cookie,) = page.cookies.jar
    head = f"POST /api/undo HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\nCookie: {cookie.name}={cookie.value}\r\n"
    head += f"X-Assay: {page.headers['X-Assay']}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=10) as connection:
        start = time.monotonic()
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 5
    assert page.get("/?" + "x" * 9000).status_code == 414


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../guard.py",
            "/static/..%2fguard.py",
            "/static/%2e%2e/guard.py",
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
        ),
        *(
            "/static/PAGE.HTML",
            "/static/page.html%00",
            "/static/.",
            "/static/guard.py",
            "/static/page.html/x",
            "/etc/passwd",
        ),
        *("/api/images/1/..%2f..%2fsecret.png", "/api/images/1/../../secret.png", "/api/images/1/%2fetc%2fpasswd"),
        *(
            "/api/images/1/link.png",
            "/api/images/1/evil.svg",
            "/api/images/1/",
            "/api/images/-1/image",
            "/api/images/1%00/image",
        ),
    ],
)
def test_no_file_by_its_path(address, page, path):
    (cookie,) = page.cookies.jar
    status, body = raw(
        address, "GET", path, {"Host": urlsplit(address).netloc, "Cookie": f"{cookie.name}={cookie.value}"}
    )
    assert status == 404
    assert MARK.encode() not in body
    assert set(json.loads(body)) == {"error"}


def test_pictures_of_a_project_stay_in_it(page):
    """Masks name a link, a script, and files outside of the folder: none is shown, and the picture itself is."""
    for row in range(8):
        content = page.get(f"/api/rows/{row}").json()["content"]
        names = [content["name"], *(mask["name"] for mask in content["masks"])]
        for name in [*names, "mask0", "mask1", "mask0.1"]:
            answer = page.get(f"/api/images/{row}/{name}")
            assert answer.status_code == (200 if name in names else 404)
            if answer.status_code == 200:
                assert answer.headers["content-type"] in ("image/png", "image/jpeg")
                assert answer.content[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")
                assert MARK.encode() not in answer.content


def test_hostile_text_is_json_and_csv_that_does_nothing(page):
    for row in range(60):
        answer = page.get(f"/api/rows/{row}").raise_for_status()
        assert answer.headers["content-type"] == "application/json"
        assert len(answer.content) < 400_000, "long text is cut"
    task = page.next()
    told = {"row": task["row"], "role": task["role"], "sampled": task["sampled"], "verdict": "suggested"}
    page.sent("/api/verdicts", **told, key="key-of-hostile", note="=cmd|' /C calc'!A0").raise_for_status()
    table = page.get("/api/decisions.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert "'=cmd|" in table.text
    assert ",=" not in table.text


def test_a_reload_with_the_link_keeps_the_name(page):
    page.get("/", params={"token": TOKEN}).raise_for_status()
    assert page.get("/api/session").json()["reviewer"] == "anna"


def test_a_server_that_comes_back_with_its_token_knows_its_sessions(tmp_path):
    results = make_results(tmp_path)
    with served(results) as (_, address), Page(address, "anna") as page:
        (cookie,) = page.cookies.jar
        word = page.headers["X-Assay"]
    with served(results) as (_, again):
        assert again == address, "the same folder has the same port, so that a page left open finds it"
        with httpx.Client(base_url=again, cookies={cookie.name: cookie.value}, headers={"X-Assay": word}) as page:
            assert page.get("/api/session").json()["reviewer"] == "anna"
            assert page.post("/api/undo", json={}).status_code == 200


def test_random_requests_break_no_promise():
    told, statuses = fuzz(600, seed=1000, with_slow=False)
    assert told == []
    assert statuses[200] > 20
