"""Processes that work, say how far they are, and can be killed at any moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

Work = Callable[[Callable[[str], None]], None]


class Fork:
    """A forked process that runs `work(say)`; what it says in whole lines is heard even after it was killed.

    `status` is how it ended, as `os.waitpid` has it, once `lines` was called.
    """

    def __init__(self, work: Work) -> None:
        self.status = -1
        self._pipe, write = os.pipe()
        self._text = b""

        def say(line: str) -> None:
            os.write(write, f"{line}\n".encode())

        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._pipe)
                work(say)
                os._exit(0)
            except BaseException as error:
                say(f"{type(error).__name__}: {error}")
                os._exit(1)
        os.close(write)

    def wait_for(self, n_lines: int) -> None:
        """Return as soon as it has said so many lines, or has ended."""
        while self._text.count(b"\n") < n_lines and (more := os.read(self._pipe, 1 << 16)):
            self._text += more

    def kill(self) -> None:
        """Kill -9; harmless when it has ended."""
        os.kill(self.pid, signal.SIGKILL)

    def lines(self) -> list[str]:
        """All whole lines that it said; waits for its end."""
        while more := os.read(self._pipe, 1 << 16):
            self._text += more
        os.close(self._pipe)
        self.status = os.waitpid(self.pid, 0)[1]
        return self._text.decode().split("\n")[:-1]
