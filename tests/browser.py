"""Pages of a report in a real browser: Chromium, driven over its DevTools protocol.

`python tests/browser.py FOLDER [--shots DIR]` checks every page of a report at both widths, and draws them.
"""

import argparse
import base64
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (1200, 390)
TILE = 8000  # pixels
# An element is too wide if it sticks out of the screen and lies in no box that scrolls.
FAULTS = r"""(() => {
const all = [...document.querySelectorAll("body *")], screen = document.scrollingElement, name = e => e.outerHTML.slice(0, 80);
const boxed = e => e && ((e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX !== "visible") || boxed(e.parentElement));
const wide = all.filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !boxed(e.parentElement));
const prose = [...document.querySelectorAll("p, li, th, td, caption, figcaption, math, h1, h2, h3")];
const text = e => [...e.childNodes].map(n => n.nodeType == 3 ? n.data : n.matches?.("code") ? "" : text(n)).join("");
return [
  ...(screen.scrollWidth > innerWidth ? [`${screen.scrollWidth} px wide: ${name(wide[0] ?? screen)}`] : []),
  ...[...document.images].filter(e => !e.alt || e.alt.startsWith("No description") || !e.naturalWidth).map(e => `picture without alternative text or content: ${name(e)}`),
  ...all.filter(e => e instanceof HTMLUnknownElement || e.matches("a:not([href])")).map(e => `no tag of HTML: ${name(e)}`),
  ...prose.filter(e => /\\[a-zA-Z]{2,}|\$\\|@@math/.test(text(e))).map(e => `raw TeX: ${text(e).slice(0, 80)}`),
]; })()"""


class Browser:
    """One window of a headless Chromium, which notes each request and each complaint of the console."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-background-networking",
                   "--remote-debugging-port=0", f"--user-data-dir={self.folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = Path(self.folder, "DevToolsActivePort")
        self._wait(lambda: port.is_file() and port.read_text().count("\n") and self._window(port))
        self.number, self.events = 0, []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.window.close()
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _window(self, port: Path) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json/list") as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        if pages:
            self.window = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], suppress_origin=True, timeout=30)
        return bool(pages)

    def _wait(self, done):
        end = time.monotonic() + 30
        while not done():
            assert time.monotonic() < end and self.process.poll() is None, "Chromium does not start"
            time.sleep(0.05)

    def call(self, method: str, **params):
        """Answer of a method of the DevTools protocol; what happens meanwhile is noted."""
        self.number += 1
        self.window.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while (message := json.loads(self.window.recv())).get("id") != self.number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def run(self, script: str):
        """Value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, page: Path, width: int) -> list[str]:
        """Faults of a page at a screen of this width: what sticks out, what the console says, what it asks the network for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.window.recv()))
        return self.run(FAULTS) + [fault for event in self.events if (fault := self._fault(event))]

    def _fault(self, event: dict) -> str | None:
        method, params = event["method"], event["params"]
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            return f"request: {params['request']['url']}"
        if method == "Runtime.exceptionThrown":
            return f"exception: {params['exceptionDetails']['text']}"
        if method == "Log.entryAdded":
            return f"console: {params['entry']['text']}"
        return f"console: {params['args']}" if method == "Runtime.consoleAPICalled" else None

    def draw(self, path: Path) -> None:
        """Picture of the whole page that is open, joined of tiles: Chromium draws nothing beyond 16384 pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        picture = Image.new("RGB", (round(size["width"]), round(size["height"])))
        for top in range(0, picture.height, TILE):
            clip = {"x": 0, "y": top, "width": picture.width, "height": min(TILE, picture.height - top), "scale": 1}
            tile = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
            picture.paste(Image.open(io.BytesIO(base64.b64decode(tile))), (0, top))
        picture.save(path)


def check_folder(folder: Path, shots: Path | None = None) -> list[str]:
    """Faults of all pages of a report, at both widths; with `shots` a picture of each goes there."""
    faults = []
    with Browser() as browser:
        for page in sorted(folder.glob("*.html")):
            for width in WIDTHS:
                faults += [f"{page.name} at {width} px: {fault}" for fault in dict.fromkeys(browser.open(page, width))]
                if shots:
                    browser.draw(shots / f"{page.stem}-{width}.png")
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for pictures of the pages")
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    print(*(faults := check_folder(options.folder, options.shots)), sep="\n")
    sys.exit(bool(faults))
