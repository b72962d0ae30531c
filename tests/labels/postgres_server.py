"""A real PostgreSQL for tests and benches: a cluster of its own in a folder, started and killed at will."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PACKAGE = "PostgreSQL's programs are absent: install the Debian package `postgresql`"


def programs() -> Path | None:
    """The folder of initdb, pg_ctl and postgres; None where they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else None


class Server:
    """A cluster in `folder`, which must be one that the user `postgres` can reach when root runs this."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self._programs = programs()
        if os.geteuid() == 0:  # the server refuses to be run by root
            shutil.chown(folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run(
            "initdb", "-D", self.data, "-U", "assay", "--auth=scram-sha-256", f"--pwfile={self._secret()}", "-E", "UTF8"
        )
        self.start()

    def _secret(self) -> Path:
        path = self.folder / "secret"
        path.write_text("s3cret/word")
        path.chmod(0o644)
        return path

    def _run(self, program: str, *arguments: object) -> None:
        assert self._programs is not None, PACKAGE
        command = [str(self._programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        given = " ".join([f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}", *options])
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", self.folder / "log", "-o", given, "start")

    def stop(self) -> None:
        """Stop it and hang up on everybody."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """Kill -9 the server and all its processes, as a machine that goes down."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, signal.SIGKILL)
        for each in (pid, *map(int, children)):
            while _lives(each):
                time.sleep(0.01)
        for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink()  # nobody may have reaped the dead yet

    def url(self, ledger: str, *, password: str | None = "s3cret%2Fword", query: str = "", user: str = "assay") -> str:
        """Where the ledger of this name is."""
        who = user if password is None else f"{user}:{password}"
        return f"postgresql://{who}@127.0.0.1:{self.port}/postgres?ledger={ledger}{query}"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
