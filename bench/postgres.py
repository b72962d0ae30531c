"""A real PostgreSQL for benches and tests: a cluster of its own in a folder, started and killed at will."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABSENT = "PostgreSQL's programs are absent: install the Debian package `postgresql`"
PASSWORD = "s3cret/word"


def programs() -> Path | None:
    """The folder of initdb, pg_ctl and postgres; None where they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else None


@contextmanager
def running(*options: str, where: Path | None = None) -> Iterator[Server]:
    """A server with the given options, as `-c fsync=off`, in a folder of its own below `where`."""
    with tempfile.TemporaryDirectory(dir=where, prefix="assay-pg-") as name:
        Path(name).chmod(0o755)
        server = Server(Path(name), options)
        try:
            yield server
        finally:
            server.stop()


class Server:
    """A cluster in `folder`, which the user `postgres` must reach when root runs this."""

    def __init__(self, folder: Path, options: tuple[str, ...] = ()) -> None:
        self.folder, self.data = folder, folder / "data"
        if os.geteuid() == 0:  # the server refuses to be run by root
            shutil.chown(folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        how = ("-U", "assay", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync")
        self._run("initdb", "-D", self.data, *how)
        place = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {folder}"
        self._options = " ".join([place, *options])
        self.start()

    def _run(self, program: str, *arguments: object) -> None:
        folder = programs()
        if folder is None:
            raise RuntimeError(ABSENT)
        command = [str(folder / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", self._options, "start")

    def stop(self) -> None:
        """Stop it and hang up on everybody."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """Kill -9 the server and all its processes, as when a machine goes down."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        family = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        for each in family:
            os.kill(each, signal.SIGKILL)
        while any(map(_lives, family)):
            time.sleep(0.01)
        for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink()  # nobody may have reaped the dead yet

    def limit_files(self, pid: int, size: int | None) -> None:
        """Let one of its processes write no file beyond so many bytes, as a full disk would."""
        self._run(shutil.which("prlimit") or "prlimit", "--pid", pid, f"--fsize={size or 'unlimited'}:")

    def url(self, ledger: str, *, user: str = "assay", password: str | None = PASSWORD, query: str = "") -> str:
        """Where the ledger of this name is."""
        who = user if password is None else f"{user}:{password.replace('/', '%2F')}"
        return f"postgresql://{who}@127.0.0.1:{self.port}/postgres?ledger={ledger}{query}"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
