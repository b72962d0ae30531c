"""The page in a real browser: wide and narrow, light and dark, under attack."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evidence.example_report import example
from tests.evidence.hostile import poison
from tests.review.browsers import chromium

from assay.evidence.page import write_report
from assay.evidence.report import from_json, to_json

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as session:
        yield session


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    fields = json.loads(to_json(example()))
    hostile = from_json(json.dumps(poison(fields, [0]) | {"assay_report": 1}))
    folder = tmp_path_factory.mktemp("pages")
    found = {"example": example(), "hostile": hostile}
    return {name: write_report(report, Path(folder) / name).as_uri() for name, report in found.items()}


def visit(browser: Any, page: str, width: int, scheme: str = "light") -> None:
    scheme_only = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme_only)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)


def requests(browser: Any) -> list[str]:
    """Addresses that the page asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return [address for address in asked if not address.startswith("data:")]


@pytest.mark.parametrize("width", [360, 380, 768, 1280])
@pytest.mark.parametrize("name", ["example", "hostile"])
def test_the_page_never_scrolls_sideways(browser: Any, pages: dict[str, str], name: str, width: int) -> None:
    visit(browser, pages[name], width)
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


def test_the_page_asks_for_nothing_but_itself(browser: Any, pages: dict[str, str]) -> None:
    requests(browser)
    visit(browser, pages["example"], 1280)
    assert requests(browser) == [pages["example"]]
    assert browser.execute_script("return [...document.images].every(one => one.complete && one.naturalWidth > 0)")
    assert browser.get_log("browser") == []


def test_hostile_text_does_nothing(browser: Any, pages: dict[str, str]) -> None:
    visit(browser, pages["example"], 1280)
    count = "return [...new Set([...document.querySelectorAll('*')].map(one => one.localName))].sort()"
    benign = browser.execute_script(count)
    requests(browser)
    browser.get_log("browser")
    visit(browser, pages["hostile"], 1280)
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.execute_script("return typeof window.pwned") == "undefined"
    assert requests(browser) == [pages["hostile"]]
    assert browser.get_log("browser") == []
    assert set(browser.execute_script(count)) <= set(benign)
    assert browser.execute_script("return document.styleSheets.length") == 1
    assert browser.execute_script("return getComputedStyle(document.body).display") == "block"
    inline = """return [...document.querySelectorAll('*')].flatMap(one => [...one.attributes])
        .filter(one => one.name.startsWith('on') || /^\\s*javascript:/.test(one.value) && one.name === 'href').length"""
    assert browser.execute_script(inline) == 0


def test_text_in_plots_is_at_least_11_pixels_on_a_telephone(browser: Any, pages: dict[str, str]) -> None:
    visit(browser, pages["example"], 380)
    sizes = browser.execute_script(
        """return [...document.querySelectorAll('figure svg text')].filter(one => one.getClientRects().length)
        .map(one => {
            const m = one.getScreenCTM();
            return parseFloat(getComputedStyle(one).fontSize) * Math.sqrt(Math.abs(m.a * m.d - m.b * m.c))
        })"""
    )
    assert len(sizes) > 50
    assert min(sizes) >= 11


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_of_a_plot_leaves_its_frame(browser: Any, pages: dict[str, str], width: int) -> None:
    visit(browser, pages["example"], width)
    outside = browser.execute_script(
        """return [...document.querySelectorAll('figure svg text')].filter(one => one.getClientRects().length)
        .filter(one => {
            const text = one.getBoundingClientRect(), frame = one.closest('figure').getBoundingClientRect();
            return text.left < frame.left || text.right > frame.right
        }).map(one => one.textContent)"""
    )
    assert outside == []


def test_light_and_dark_follow_the_reader(browser: Any, pages: dict[str, str]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        visit(browser, pages["example"], 1280, scheme)
        seen[scheme] = browser.execute_script(
            """const style = one => getComputedStyle(document.querySelector(one));
            return [style('body').backgroundColor, style('body').color, style('figure svg text').fill]"""
        )
    assert all(one != other for one, other in zip(seen["light"], seen["dark"], strict=True))


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Any, pages: dict[str, str]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    visit(browser, pages["example"], 1280)
    reached, outlines = [], set()
    for _ in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        name, outline = browser.execute_script(
            """const one = document.activeElement;
            return [one.localName + (one.className ? '.' + one.className : ''), getComputedStyle(one).outlineStyle]"""
        )
        reached.append(name)
        outlines.add(outline)
    assert reached[0] == "a.skip"
    assert {"a", "summary"} <= set(reached)
    assert outlines == {"solid"}


def test_it_prints(browser: Any, pages: dict[str, str]) -> None:
    visit(browser, pages["example"], 1280, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    shown = browser.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    assert (background, shown) == ("rgb(255, 255, 255)", "none")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 50_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
