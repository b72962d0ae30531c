"""A real browser, a server started by the command, and what a person does with both."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium with a profile of its own, or a skip that says how to get it."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "accept")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()


class Server:
    """`assay review` as a process; it can be killed, and started again at the same address."""

    def __init__(self, results: Path, *options: str) -> None:
        token = results.parent / "token"
        self.command = [
            sys.executable,
            "-m",
            "assay",
            "review",
            str(results),
            "--no-browser",
            "--token-file",
            str(token),
        ]
        self.command += options
        self.start()

    def start(self) -> None:
        """Start it and wait for its link."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        assert self.link.startswith("http://127.0.0.1:"), self.link
        self.address = self.link.partition("/?")[0]

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


class Reviewer:
    """A person at a browser: sees what is on the page, presses keys."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def js(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *arguments)

    def until(self, condition: str, seconds: float = 20) -> Any:
        """Wait until an expression of the page is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.js(f"return {condition}"):
                return found
            time.sleep(0.02)
        page = self.js("return document.body.innerText")
        raise AssertionError(f"{condition} did not come true in {seconds} seconds. The page says: {page}")

    def look(self, width: int = 1280, scheme: str = "light") -> None:
        """Choose the size of the window and the colours of the system."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 860, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def sit_down(self, link: str, name: str) -> None:
        """Open the link and say a name."""
        self.browser.get(link)
        self.until("document.getElementById('title')?.textContent")
        if (
            self.until("document.getElementById('name-dialog').open || document.getElementById('row').dataset.row")
            is True
        ):
            self.press(name + "\n")
        self.until("document.getElementById('row').dataset.row !== undefined")

    def press(self, keys: str) -> None:
        """Type on the keyboard."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser, duration=0).send_keys(keys).perform()

    def key(self, key: str) -> bool:
        """Press one key and say at once, before anything can arrive, whether the page has taken it."""
        event = "new KeyboardEvent('keydown', {key: arguments[0], bubbles: true, cancelable: true})"
        return not self.js(f"return document.body.dispatchEvent({event})", key)

    @property
    def row(self) -> int:
        """The row on the page."""
        return int(
            self.js("return document.getElementById('row').hidden ? -1 : document.getElementById('row').dataset.row")
        )

    def decide(self, key: str) -> int:
        """Decide the row on the page with one key and wait for the next; returns the row decided."""
        row = self.row
        assert row >= 0, self.js("return document.body.innerText")
        time.sleep(0.12)  # a key that comes sooner is a key pressed twice
        self.press(key)
        self.until(f"document.getElementById('row').hidden || document.getElementById('row').dataset.row !== '{row}'")
        return row

    def saved(self) -> None:
        """Wait until the server has everything."""
        self.until("document.getElementById('saved').dataset.state === 'saved'")

    def fetched(self, path: str) -> Any:
        """What the page can read from the server."""
        return self.browser.execute_async_script(
            "const done = arguments[1]; fetch(arguments[0]).then((answer) => answer.text()).then(done)", path
        )

    def requests(self) -> list[str]:
        """Addresses that the page asked for since the last call."""
        entries = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]

    def violations(self) -> list[str]:
        """What axe-core finds serious or critical on the page as it is."""
        import axe_core_python

        axe = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
        if not self.js("return Boolean(window.axe)"):
            self.js(axe)
        found = self.browser.execute_async_script(
            """const done = arguments[0];
            axe.run({resultTypes: ["violations"]}).then(({violations, passes}) => done(violations
                .filter((one) => ["serious", "critical"].includes(one.impact))
                .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`)
                .concat(passes.length > 10 ? [] : ["axe has looked at nothing"])))"""
        )
        return list(found)
