"""`assay review` as a person starts it: the link, the end, the browser, and how it says no."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.review.served import make_results

from assay.cli import main
from assay.cli.review import results_of
from assay.errors import InputError
from assay.review.serve import answering, opened, origins_of, public_origin, token_in


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return make_results(tmp_path_factory.mktemp("my data"))


@contextmanager
def started(*words: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the link that it prints."""
    command = [sys.executable, "-m", "assay", "review", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def refused(capsys, *words: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["review", *map(str, words)])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    return str(err)


def test_from_the_link_to_the_end(results):
    with started(results, "--no-browser", "--reviewer", " anna ") as (process, link):
        address, _, token = link.partition("/?token=")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
        assert len(token) >= 43
        with httpx.Client(base_url=address) as page:
            page.get(link).raise_for_status()
            session = page.get("/api/session").json()
            assert session["reviewer"] == "anna"
            task = page.get("/api/next").json()["task"]
            told = {"row": task["row"], "role": "first", "sampled": task["sampled"], "verdict": "suggested"}
            headers = {"X-Assay": session["csrf"]}
            page.post("/api/verdicts", json={**told, "key": "some-key"}, headers=headers).raise_for_status()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == "", "the link is all that a pipe gets"
    assert "60 rows" in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("1 verdict of 1 person in the ledger, 1 of them new.")
    words = re.search("`(.*)`", last)
    assert words is not None
    replay = words[1].replace("assay", f"{sys.executable} -m assay", 1)
    subprocess.run(["bash", "-c", replay], cwd=Path.cwd(), check=True, capture_output=True)
    Path("repaired.csv").unlink()


def test_the_browser_gets_the_link_without_showing_it_to_others(results, tmp_path):
    """Anybody on the machine can read command lines; the link is in a file that only its owner can read."""
    opener, seen = tmp_path / "bin" / "xdg-open", tmp_path / "seen"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$1" > {seen}.part\nmv {seen}.part {seen}\n')
    opener.chmod(0o700)
    path = f"{opener.parent}{os.pathsep}{os.environ['PATH']}"
    with started(results, DISPLAY=":0", PATH=path, SSH_CONNECTION="") as (process, link):
        for _ in range(100):
            if seen.exists():
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        opened = seen.read_text().strip()
        token = link.partition("token=")[2]
        assert token not in opened
        file = next(results.glob("open-*.html"))
        assert opened == str(file)
        assert link in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, "a polite kill ends it as Ctrl-C does"
    assert not file.exists()


def test_other_machines_are_let_in_only_when_asked(results, capsys):
    assert "--share" in refused(capsys, results, "--host", "192.0.2.1")
    assert "--public-url" in refused(capsys, results, "--host", "0.0.0.0", "--share")
    assert "--host" in refused(capsys, results, "--share")
    assert "TLS" in refused(capsys, results, "--share", "--host", "192.0.2.1"), "warned, then: no address of ours"
    for url in ("labels.example.org", "ftp://x", "https://x/path", "https://u:p@x", "https://x:port", "https://x?y=1"):
        assert "--public-url" in refused(capsys, results, "--public-url", url)
    assert "IP address" in refused(capsys, results, "--host", "example.org", "--share")


def test_a_proxy_hands_on_under_its_own_name(results):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, here = "https://labels.example.org", f"http://127.0.0.1:{port}"
    with opened(results) as desk, answering(desk, public_url=f"{url}:443/", port=port, token="t" * 40) as link:
        assert link == f"{url}/?token={'t' * 40}"
        with httpx.Client(base_url=here, headers={"Host": "labels.example.org"}) as page:
            cookie = page.get("/", params={"token": "t" * 40}).headers["set-cookie"]
            assert cookie.endswith("; Secure")
            page.headers["Cookie"] = cookie.partition(";")[0]
            page.headers["X-Assay"] = page.get("/api/session").json()["csrf"]
            assert page.post("/api/undo", json={}, headers={"Origin": "http://labels.example.org"}).status_code == 403
            assert page.post("/api/session", json={"reviewer": "anna"}, headers={"Origin": url}).status_code == 200


def test_what_cannot_be_served(results, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(capsys, results, "--port", port)
    assert "no folder" in refused(capsys, tmp_path / "nothing")
    assert "reviewer" in refused(capsys, results, "--reviewer", "a\u202eb")
    assert "target" in refused(capsys, results, "--target", "0")
    assert "column" in refused(capsys, results, "--boxes", "nothing")
    assert "ledger" in refused(capsys, results, "--db", "postgresql://nobody@127.0.0.1:1/nothing?x=1").lower()


def test_a_data_set_finds_its_results(results, monkeypatch, capsys):
    data = results.parent / "pets.csv"
    assert results_of(results, None) == (results, None)
    assert results_of(results, data) == (results, data)
    assert results_of(data, None) == (results, data)
    monkeypatch.chdir(results.parent)
    assert results_of(Path("pets.csv"), None) == (Path("pets.assay"), Path("pets.csv"))
    other = results.parent / "birds.csv"
    other.write_text("a,b\n")
    with pytest.raises(InputError, match=r"run `assay audit .*birds.csv.* --label COLUMN` first"):
        results_of(other, None)


def test_a_token_is_kept_for_its_owner_alone(tmp_path):
    path = tmp_path / "token"
    token = token_in(path)
    assert len(token) == 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_in(path) == token
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        token_in(path)
    path.chmod(0o600)
    for odd in ("", "short", "x" * 40 + "\u00e9", "two words " * 5, "a/b" * 20):
        path.write_text(odd)
        with pytest.raises(InputError, match="no token"):
            token_in(path)


def test_addresses():
    assert public_origin("http://x:80") == "http://x"
    assert public_origin("https://[2001:DB8::1]:8443/") == "https://[2001:db8::1]:8443"
    own = ("http://127.0.0.1:5", "http://localhost:5", "http://[::1]:5")
    assert origins_of("127.0.0.1", 5, None) == own
    assert origins_of("2001:db8::1", 5, None) == ("http://[2001:db8::1]:5", *own)
    assert origins_of("127.0.0.1", 5, "https://x") == ("https://x", *own)
