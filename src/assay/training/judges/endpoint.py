"""A judge behind any server that speaks the chat-completions protocol: a hosted model, vLLM, llama.cpp, Ollama.

Temperature 0. Pictures travel as data URIs. The key is read from an environment variable when a call is made; it is
never stored, shown or put into an error. Calls that fail for a passing reason (429, 5xx, no connection, time-out) are
tried again with growing pauses; then they raise, which the critic takes as "unsure".
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from assay.errors import AssayError, InputError
from assay.training.judges import Answer, Candidate, Case
from assay.training.judges.pictures import png
from assay.training.judges.words import (
    PAIR,
    PRESENCE,
    SINGLE,
    Part,
    pair_question,
    presence_question,
    read_answer,
    single_question,
)

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
LARGEST = 4_000_000  # bytes of an answer
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for


class EndpointError(AssayError):
    """A server that did not answer, or not with a completion."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


class EndpointJudge:
    """A model on a server.

    Parameters
    ----------
    url : address of the completions, such as `http://localhost:8000/v1/chat/completions`; `/chat/completions` is
        added when it is missing.
    model : its name on the server.
    key : name of the environment variable that holds the key; without a key when it is not set.
    criteria : what a good label is like, in plain words; None for a sentence about the kind.
    price : of one call.
    timeout : seconds that a call may take.
    retries : further tries after a passing failure.
    pause : seconds before the first of them; it doubles.
    max_tokens : length of an answer.
    """

    def __init__(
        self,
        url: str,
        model: str = "default",
        key: str = "ASSAY_API_KEY",
        criteria: str | None = None,
        price: float = 0.0,
        timeout: float = 60.0,
        retries: int = 3,
        pause: float = 1.0,
        max_tokens: int = 600,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("The address of a judge must begin with http:// or https:// and name a host.")
        if parts.username or parts.password:
            raise InputError(f"Put the key into the environment variable {key}, not into the address.")
        path = parts.path.rstrip("/")
        path += "" if path.endswith("/chat/completions") else "/chat/completions"
        self.url = parts._replace(path=path).geturl()
        self.model = model
        self.key = key
        self.criteria = criteria
        self.price = price
        self.timeout = timeout
        self.retries = retries
        self.pause = pause
        self.max_tokens = max_tokens
        self.name = f"{model}@{parts.hostname}"
        self._opener = urllib.request.build_opener(_NoRedirect())

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        """Ask which label is better."""
        return self._answer(pair_question(case, first, second, self.criteria), PAIR)

    def check(self, case: Case, candidate: Candidate) -> Answer:
        """Ask whether the label can be kept."""
        return self._answer(single_question(case, candidate, self.criteria), SINGLE)

    def present(self, case: Case) -> Answer:
        """Ask whether there is anything to label."""
        return self._answer(presence_question(case), PRESENCE)

    def _answer(self, parts: list[Part], names: dict[str, int]) -> Answer:
        text = self._complete(parts)
        return Answer(read_answer(text, names), text)

    def _complete(self, parts: list[Part]) -> str:
        body = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": [_as_json(part) for part in parts]}],
        }
        headers = {"Content-Type": "application/json"}
        if os.environ.get(self.key):
            headers["Authorization"] = f"Bearer {os.environ[self.key]}"
        data = json.dumps(body).encode()
        for attempt in range(self.retries + 1):
            wait = self.pause * 2**attempt * (1 + random.random() / 4)  # so that many do not come back at once
            try:
                request = urllib.request.Request(self.url, data, headers)
                with self._opener.open(request, timeout=self.timeout) as response:
                    return _text(response.read(LARGEST + 1))
            except urllib.error.HTTPError as error:
                error.close()
                failure = f"status {error.code}"
                if error.code not in PASSING:
                    break
                asked = error.headers.get("Retry-After", "")
                wait = max(wait, min(float(asked), LONGEST_PAUSE)) if asked.isdigit() else wait
            except (OSError, TimeoutError) as error:  # URLError is an OSError
                failure = f"no answer ({type(error).__name__})"
            if attempt < self.retries:
                time.sleep(wait)
        raise EndpointError(f"{urlsplit(self.url).hostname} gave {failure} after {attempt + 1} tries.")


def _as_json(part: Part) -> dict[str, Any]:
    if isinstance(part, np.ndarray):
        uri = f"data:image/png;base64,{base64.b64encode(png(part)).decode()}"
        return {"type": "image_url", "image_url": {"url": uri}}
    return {"type": "text", "text": part}


def _text(raw: bytes) -> str:
    """The text of a completion; what is none raises."""
    try:
        if len(raw) > LARGEST:
            raise ValueError("too long")
        text = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise EndpointError("The server's answer is no chat completion: is the address right?") from None
    if not isinstance(text, str):
        raise EndpointError("The server's completion holds no text.")
    return text
