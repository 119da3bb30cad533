"""Pages in headless Chromium: a cell of the confusion matrix opens its pictures, without scripts too; videos play."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.api.reporting import _predictions
from resnetkit.inference.video.annotated import VideoWriter
from resnetkit.report.drawing.frames import Annotator, bar

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))  # with a fresh profile
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, digits_run: rk.Run) -> Iterator[Any]:
    """Open the run's page as a browser of some kind; what it fetched or complained about is an error."""
    contexts, troubles = [], []

    def opened(**kind: Any) -> Any:
        context = browser.new_context(**kind)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url))
        page.goto((digits_run.path / "report.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def errors_of(run: rk.Run) -> tuple[str, str, list[str]]:
    """The pair of classes confused most often, and the names of its files."""
    rows = [row for row in _predictions(run.folder, run.metrics) if not row["correct"]]
    pairs = [(row["label"], row["predicted"]) for row in rows]
    label, predicted = max(pairs, key=pairs.count)
    names = [Path(row["source"]).name for row in rows if (row["label"], row["predicted"]) == (label, predicted)]
    assert len(names) > 1
    return label, predicted, sorted(names)


def test_a_click_on_a_cell_shows_its_pictures(visit: Any, digits_run: rk.Run) -> None:
    label, predicted, names = errors_of(digits_run)
    page = visit(viewport={"width": 1280, "height": 900})
    page.locator(f'table.matrix a[aria-label^="{label}, called {predicted}:"]').click()
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert f"{label}, called {predicted}: {len(names)} pictures" in dialog.inner_text()
    assert sorted(dialog.locator(".name").all_inner_texts()) == names
    drawn = dialog.locator("img").evaluate_all("all => all.map(img => img.complete && img.naturalWidth > 0)")
    assert drawn == [True] * len(names)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_the_keyboard_reaches_a_cell_and_comes_back(visit: Any) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    cell = page.locator("table.matrix a").first
    cell.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Enter")  # the button to close has the focus
    assert not page.locator("dialog").is_visible()
    assert cell.evaluate("cell => cell === document.activeElement")


def test_without_scripts_a_cell_leads_to_its_pictures(visit: Any, digits_run: rk.Run) -> None:
    label, predicted, names = errors_of(digits_run)
    page = visit(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    link = page.locator(f'table.matrix a[aria-label^="{label}, called {predicted}:"]')
    gallery = page.locator(str(link.get_attribute("href")))
    assert not gallery.is_visible()
    link.click()
    gallery.wait_for(state="visible", timeout=5000)
    assert sorted(gallery.locator(".name").all_inner_texts()) == names


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_and_words_can_be_read(visit: Any, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(LEAST_CONTRAST) >= 4.5  # WCAG 2.2, level AA


# The least contrast of any words with what lies behind them; half-transparent colours are laid over each other.
LEAST_CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]);
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  let least = 21;
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!words || !element.checkVisibility() || element.closest("script, style")) continue;
    const style = getComputedStyle(element), back = behind(element);
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
  }
  return least;
}"""


PLAYS = """async () => {
    const video = document.querySelector("video");
    const heard = name => new Promise(done => ["error", name].forEach(
        which => video.addEventListener(which, done, {once: true})));
    if (video.readyState < 1 && !video.error) await heard("loadedmetadata");
    const seeked = heard("seeked");
    video.currentTime = 0.5;
    await seeked;
    return [video.error && video.error.message, video.readyState >= 2, video.videoWidth, video.videoHeight];
}"""


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv"])
def test_a_written_video_plays(suffix: str, browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra video")
    annotator, red = Annotator(["red"]), Image.new("RGB", (101, 77), (200, 30, 40))
    with VideoWriter(tmp_path / f"seen{suffix}") as video:
        for time in (0.0, 0.1, 0.4, 0.9):
            video.add(annotator.drawn(red, time=time, said=[("red", 0.9)]), time)
    (tmp_path / "page.html").write_text(f'<body style="margin: 0"><video src="seen{suffix}" muted></video>')
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate(PLAYS) == [None, True, 101, 77 + bar(red.size)]
    shown = Image.open(io.BytesIO(page.screenshot(clip={"x": 20, "y": 20, "width": 1, "height": 1})))
    assert np.abs(np.asarray(shown.convert("RGB")).astype(int) - (200, 30, 40)).max() <= 6
    page.close()
