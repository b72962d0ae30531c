"""The ledger under faults: kill -9, several writers, torn writes, full and read-only disks. Nothing here is imitated:
the writers are processes, the kills are kills, the full disk is full."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from assay.labels import ledger_sqlite
from assay.labels.ledger import Event, Ledger, LedgerError
from bench.forks import Fork

DATASET = Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": 1_000_000})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing there, and a busy disk slows nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def verdict(writer: str, number: int, note: str | None = None) -> Event:
    return Event("verdict", writer, "human", row=number, evidence={"verdict": "given"}, note=note)


def made(path: Path) -> Path:
    with Ledger.open(path, create=True) as ledger:
        ledger.append([DATASET])
        return ledger.path


def assert_holds(path: Path, acknowledged: dict[str, int]) -> Ledger:
    """Every acknowledged event is there once, under the id that its writer was told, and the chain is whole."""
    ledger = Ledger.open(path)
    events = list(ledger.log(kind="verdict"))
    times = Counter(f"{event.source} {event.row}" for event in events)
    ids = {f"{event.source} {event.row}": event.id for event in events}
    assert set(times.values()) <= {1}
    assert {key: ids.get(key) for key in acknowledged} == acknowledged
    assert ledger.verify().problem is None
    return ledger


def write_thousand(path: Path, writer: str, first: int) -> Callable[[Callable[[str], None]], None]:
    def work(say: Callable[[str], None]) -> None:
        with Ledger.open(path) as ledger:
            for number in range(first, first + 1000):
                (event,) = ledger.append([verdict(writer, number)])
                say(f"{number} {event}")

    return work


def acknowledgements(writer: str, lines: list[str]) -> dict[str, int]:
    return {f"{writer} {line.split()[0]}": int(line.split()[1]) for line in lines}


def killed(fork: Fork) -> list[str]:
    """Kill -9 a process; all whole lines that it had said."""
    fork.kill()
    lines = fork.lines()
    assert fork.status == signal.SIGKILL
    return lines


def test_kill_in_the_middle_of_a_thousand_verdicts(folder: Path) -> None:
    rng = np.random.default_rng(0)
    path = made(folder / "ledger.db")
    acknowledged: dict[str, int] = {}
    for turn in range(20):
        fork = Fork(write_thousand(path, "anna", turn * 1000))
        fork.wait_for(int(rng.integers(1, 300)))
        time.sleep(rng.uniform(0, 0.002))  # so that the kill falls anywhere in an append
        acknowledged |= acknowledgements("anna", killed(fork))
        with closing(assert_holds(path, acknowledged)) as ledger:
            # At most the one event under way at each kill may be there unacknowledged.
            assert 0 <= len(ledger) - 1 - len(acknowledged) <= turn + 1
    assert 1000 < len(acknowledged) < 20_000


def test_four_writers_of_a_thousand_verdicts_one_killed(folder: Path) -> None:
    path = made(folder / "ledger.db")
    running = {name: Fork(write_thousand(path, name, 0)) for name in ("anna", "ben", "carl", "dora")}
    dora = running.pop("dora")
    dora.wait_for(300)
    lines = killed(dora)
    assert 300 <= len(lines) < 1000
    acknowledged = acknowledgements("dora", lines)
    for name, fork in running.items():
        acknowledged |= acknowledgements(name, fork.lines())
        assert fork.status == 0
    assert_holds(path, acknowledged).close()
    assert len(acknowledged) == 3000 + len(lines)


def test_two_processes_create_one_ledger(folder: Path) -> None:
    def work(say: Callable[[str], None]) -> None:
        with Ledger.open(folder / "new" / "pets.assay", create=True) as ledger:
            ledger.append([DATASET])
            say(str(len(ledger)))

    running = [Fork(work) for _ in range(6)]
    answers = sorted(int(line) for fork in running for line in fork.lines())
    assert [fork.status for fork in running] == [0] * 6
    assert answers[-1] == 6
    with Ledger.open(folder / "new" / "pets.assay") as ledger:
        assert len(ledger) == 6
        assert ledger.verify().problem is None
    assert [file.name for file in (folder / "new" / "pets.assay").iterdir()] == ["ledger.db"]


def test_threads_share_one_ledger_while_it_is_read(folder: Path) -> None:
    failures: list[BaseException] = []
    with Ledger.open(folder, create=True) as ledger:
        ledger.append([DATASET])

        def write(writer: str) -> None:
            for number in range(50):
                ledger.append([verdict(writer, number), verdict(writer, number + 1000)])

        def read() -> None:
            try:
                for _ in range(30):
                    assert sum(1 for _ in ledger.log()) % 2 == 1  # never half a batch
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"] + [threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(ledger) == 401
        assert ledger.verify().problem is None


def test_a_torn_write_leaves_a_prefix(folder: Path) -> None:
    path = made(folder / "ledger.db")

    def work(say: Callable[[str], None]) -> None:
        ledger = Ledger.open(path)
        for number in range(20):
            ledger.append([verdict("anna", number)])
        say("ready")
        time.sleep(60)

    fork = Fork(work)
    fork.wait_for(1)
    assert killed(fork) == ["ready"]
    log = path.with_name("ledger.db-wal").read_bytes()
    rng = np.random.default_rng(0)
    lengths = []
    for turn in range(12):
        copy = folder / f"torn{turn}"
        copy.mkdir()
        shutil.copy(path, copy)
        cut = int(rng.integers(len(log)))
        torn = log[:cut] if turn % 2 else log[:cut] + rng.bytes(len(log) - cut)  # lost, or written as rubbish
        (copy / "ledger.db-wal").write_bytes(torn)
        with Ledger.open(copy) as ledger:
            lengths.append(len(ledger))
            assert ledger.verify().problem is None
            assert [event.row for event in ledger.log(kind="verdict")] == list(range(len(ledger) - 1))
            ledger.append([verdict("ben", 99)])
            assert ledger.verify().problem is None
    assert len(set(lengths)) > 3
    with Ledger.open(path) as ledger:  # and the log as it was holds all
        assert len(ledger) == 21


def test_a_limit_on_the_file_size_stops_the_write_and_nothing_else(folder: Path) -> None:
    path = made(folder / "ledger.db")

    def work(say: Callable[[str], None]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        ledger = Ledger.open(path)
        for number in range(1000):
            (event,) = ledger.append([verdict("anna", number, "x" * 2000)])
            say(f"{number} {event}")

    *lines, last = Fork(work).lines()
    assert last.startswith("LedgerError: The disk that holds")
    assert last.endswith("nothing was appended.")
    with closing(assert_holds(path, acknowledgements("anna", lines))) as ledger:
        assert len(ledger) == len(lines) + 1 > 10


FULL_DISK = """
import os, sys
from pathlib import Path
from assay.labels.ledger import Event, Ledger, LedgerError
folder = Path(sys.argv[1])
with Ledger.open(folder, create=True) as ledger:
    ledger.append([Event("dataset", "audit", "rule", column="label", evidence={"sha256": "0" * 64, "n_rows": 9999})])
    (folder / "ballast").write_bytes(bytes(300_000))
    try:
        for number in range(9999):
            ledger.append([Event("verdict", "anna", "human", row=number, note="x" * 5000)])
            print(number + 2)
    except LedgerError as error:
        print(error)
    try:
        ledger.export(folder / "out.jsonl")
    except Exception as error:
        print(error)
    print(len(ledger), ledger.verify().problem)
    (folder / "ballast").unlink()
    print(ledger.append([Event("verdict", "anna", "human", row=9998)]), ledger.verify().problem)
    print(sorted(os.listdir(folder)))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    command = f'mount -t tmpfs -o size=1m tmpfs "{tmp_path}" && exec "{sys.executable}" -c "$1" "{tmp_path}"'
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", tmp_path]).returncode:
        pytest.skip("a small file system to fill needs the right to mount one")
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", command, "sh", FULL_DISK], capture_output=True, text=True, check=False
    )
    *acknowledged, full, export, whole, more, listing = done.stdout.splitlines()
    assert "is full; nothing was appended, and the ledger is as it was" in full, done.stderr
    assert acknowledged == [str(number) for number in range(2, len(acknowledged) + 2)]
    assert len(acknowledged) > 20
    assert "cannot be written: No space left on device" in export
    assert whole == f"{len(acknowledged) + 1} None"
    assert more == f"[{len(acknowledged) + 2}] None"
    assert listing == "['ledger.db', 'ledger.db-shm', 'ledger.db-wal']"


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_read_only_ledger_is_read_and_not_written(folder_too: bool) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users

    def work(say: Callable[[str], None]) -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        ledger = Ledger.open(folder)
        say(f"{len(ledger)} {ledger.verify().problem}")
        try:
            ledger.append([verdict("anna", 1)])
        except LedgerError as error:
            say(str(error))
        say(str(len(ledger)))

    try:
        path = made(folder)
        path.chmod(0o444)
        folder.chmod(0o555 if folder_too else 0o777)
        whole, refusal, after = Fork(work).lines()
        assert (whole, after) == ("1 None", "1")
        assert refusal == f"{path} is read-only for you, so nothing was appended: copy it where you may write."
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_a_writer_that_never_ends_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_sqlite, "WAIT_SECONDS", 0.2)
    path = made(folder)
    with Ledger.open(path) as one, Ledger.open(path) as other:
        with one._store.transaction():
            assert len(other) == 1  # readers never wait
            with pytest.raises(LedgerError, match=r"Another process held .* nothing was appended"):
                other.append([verdict("ben", 1)])
        assert other.append([verdict("ben", 1)]) == [2]


def test_damaged_pages_are_found(folder: Path) -> None:
    path = made(folder)
    with Ledger.open(path) as ledger:
        ledger.append([verdict("anna", number, "x" * 500) for number in range(200)])
    damaged = bytearray(path.read_bytes())
    damaged[40_000:41_000] = bytes(1000)
    path.write_bytes(damaged)
    with Ledger.open(path) as ledger:
        assert ledger.verify().problem is not None
