"""The judge behind a server, asked over real sockets: what is sent, what is tried again, what never leaks."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from assay.aggregate.critic import LabelCritic
from assay.errors import InputError
from assay.training.judges import FIRST, SECOND, Candidate, Case
from assay.training.judges.endpoint import EndpointError, EndpointJudge

KEY = "sk-very-secret"


class Model(BaseHTTPRequestHandler):
    """Reads the question and prefers the longer label, or the larger red area; `script` says what goes wrong first."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.seen.append((self.path, dict(self.headers), body))
        step = server.script.pop(0) if server.script else 200
        if step == "slow":
            time.sleep(1.0)
            return
        if step == "cut":
            self.connection.close()
            return
        payload = b"<html>" if step == "junk" else json.dumps(self.reply(body)).encode()
        self.send_response(step if isinstance(step, int) else 200)
        if step == 302:
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def reply(self, body):
        parts = body["messages"][0]["content"]
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        if "VERDICT: GOOD" in text:
            return {"choices": [{"message": {"content": "Complete.\nVERDICT: GOOD"}}]}
        uris = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        if uris:
            sizes = [self.red(uri) for uri in uris[-2:]]
        else:
            sizes = [len(text.split(f"Label {name}:\n<<<\n")[1].split("\n>>>")[0]) for name in "AB"]
        return {"choices": [{"message": {"content": f"Sizes {sizes}.\nVERDICT: {'AB'[sizes[1] > sizes[0]]}"}}]}

    @staticmethod
    def red(uri):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB")).astype(int)
        return int(((pixels[..., 0] > 60) & (pixels[..., 1] < 20)).sum())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    found = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    found.seen, found.script = [], []
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def judge_of(server, **more):
    return EndpointJudge(f"http://127.0.0.1:{server.server_port}/v1", "tiny", pause=0.01, **more)


def test_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("ASSAY_API_KEY", KEY)
    answer = judge_of(server).compare(Case(0, "text", content="a b"), Candidate("a"), Candidate("a b"))
    assert answer.said == SECOND
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (body["temperature"], body["model"]) == (0, "tiny")


def test_without_a_key_none_is_sent(server, monkeypatch):
    monkeypatch.delenv("ASSAY_API_KEY", raising=False)
    judge_of(server).compare(Case(0, "text"), Candidate("a"), Candidate("a b"))
    assert "Authorization" not in server.seen[0][1]


def test_the_critic_over_the_wire(server):
    labels = {"short": ["ab", "x"], "long": ["abc", "x"]}
    critic = LabelCritic(judge_of(server, price=0.01), n_jobs=2).fit(labels, kind="text")
    assert critic.choice_.tolist() == [1, 0]
    assert critic.costs_["calls"].tolist() == [0, 2, 2]
    assert critic.route_.tolist() == ["adopt", "adopt"]


def test_pictures_travel_and_are_looked_at(server):
    case = Case(0, "mask", content=np.random.default_rng(0).random((20, 30)), target="cell")
    small, large = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    small[:5, :5] = large[:10, :10] = True
    judge = judge_of(server)
    assert judge.compare(case, Candidate(small), Candidate(large)).said == SECOND
    assert judge.compare(case, Candidate(large), Candidate(small)).said == FIRST
    parts = server.seen[0][2]["messages"][0]["content"]
    assert sum(part["type"] == "image_url" for part in parts) == 3  # as it is, and one a label


@pytest.mark.parametrize("failures", [[429], [503, 500], ["cut"], ["slow"]])
def test_passing_failures_are_tried_again(server, failures):
    server.script = list(failures)
    said = judge_of(server, timeout=0.3).compare(Case(0, "text"), Candidate("ab"), Candidate("a")).said
    assert said == FIRST
    assert len(server.seen) == len(failures) + 1


@pytest.mark.parametrize(("step", "asked"), [(401, 1), (400, 1), ("junk", 1), (302, 1), (503, 3)])
def test_lasting_failures_raise_without_the_key(server, monkeypatch, step, asked):
    monkeypatch.setenv("ASSAY_API_KEY", KEY)
    server.script = [step] * 9
    judge = judge_of(server, retries=2)
    with pytest.raises(EndpointError) as caught:
        judge.compare(Case(0, "text"), Candidate("ab"), Candidate("a"))
    assert KEY not in f"{caught.value}{caught.value.__cause__}{vars(judge)}"
    assert len(server.seen) == asked  # a redirect is not followed either


def test_failures_are_uncertain_to_the_critic(server):
    server.script = [500] * 100
    critic = LabelCritic(judge_of(server, retries=0)).fit({"a": ["x"], "b": ["yy"]}, kind="text")
    assert critic.route_.tolist() == ["review"]
    assert critic.costs_["failed"].sum() == 2


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000", "http://me:pw@host/v1"])
def test_bad_addresses(url):
    with pytest.raises(InputError) as caught:
        EndpointJudge(url)
    assert "pw" not in str(caught.value)
