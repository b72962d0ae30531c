"""`assay doctor`: what is installed, which extras are missing, which devices are there."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib import metadata

import click

from assay import __version__


def extras() -> dict[str, dict[str, str | None]]:
    """Each extra with its packages and their installed versions, None where absent; read from the metadata of assay."""
    found: dict[str, dict[str, str | None]] = {"base": {}}
    for line in metadata.requires("assay") or []:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        assert name is not None
        marker = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        extra = marker.group(1) if marker else "base"
        if name.group() == "assay" or extra in ("dev", "all"):
            continue
        try:
            version: str | None = metadata.version(name.group())
        except metadata.PackageNotFoundError:
            version = None
        found.setdefault(extra, {})[name.group()] = version
    return found


def devices() -> dict[str, str]:
    """Processors and accelerators that this process can use."""
    found = {"cpu": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"}
    try:
        import torch
    except ModuleNotFoundError:
        found["gpu"] = "unknown: torch is not installed"
        return found
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if len(found) == 1:
        found["gpu"] = "none"
    return found


@click.command(name="doctor", short_help="What is installed, which extras are missing, which devices are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show versions, extras and devices; exit code 1 when a package of the base install is missing."""
    packages = extras()
    report = {
        "assay": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "extras": packages,
        "devices": devices(),
    }
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        click.echo(f"assay {__version__} on Python {report['python']}, {report['platform']}")
        for extra, wanted in packages.items():
            missing = [name for name, version in wanted.items() if version is None]
            state = "ready" if not missing else f"missing {', '.join(missing)}: pip install 'assay[{extra}]'"
            click.echo(f"  {extra:<7} {state}")
            for name, version in wanted.items():
                if version is not None:
                    click.echo(f"            {name} {version}")
        for name, what in devices().items():
            click.echo(f"  {name:<7} {what}")
    if any(version is None for version in packages["base"].values()):
        sys.exit(1)
