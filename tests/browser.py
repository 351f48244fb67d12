"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright, judged by axe."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, ViewportSize, sync_playwright

from tests.servers import PATIENCE_S

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
SIZES = {"phone": PHONE, "desktop": DESKTOP}
#: Below this width a window is a phone: touched, not pointed at.
_TABLET_PX = 600
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Window:
    """One page in a browser profile of its own, with what it complains of.

    Attributes:
        page: Playwright's page; its waits are patient.
        context: the profile: cookies, storage, service workers, offline.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self._complaints: list[str] = []
        context.set_default_timeout(PATIENCE_S * 1000)
        self.page: Page = context.new_page()
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self._complaints.append(str(error)))

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaints.append(f"{message.text} ({message.location.get('url')})")

    def complaints(self) -> list[str]:
        """Script errors, refused resources and breaches of the content policy since the last call."""
        found, self._complaints = self._complaints, []
        return found

    def faults(self) -> list[str]:
        """What axe finds that keeps somebody out: each rule with the elements that break it."""
        options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": _RULES}}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]

    def fits(self) -> bool:
        """Whether nothing sticks out sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def texts(self, selector: str) -> list[str]:
        """The texts of the elements that are seen, in their order."""
        return [each.inner_text() for each in self.page.locator(selector).all() if each.is_visible()]

    def wait_state(self, state: str) -> None:
        """Wait until the page says that it is in this state."""
        self.page.wait_for_selector(f"body[data-state='{state}']")

    def shoot(self, path: Path) -> None:
        """Save what is seen, without the blinking of a caret or a transition half way."""
        self.page.screenshot(path=path, animations="disabled")

    def close(self) -> None:
        self.context.close()


class Browser:
    """A running Chromium; each window that is opened in it knows nothing of the others."""

    def __init__(self) -> None:
        self._playwright = sync_playwright().start()
        binary = shutil.which("chromium") or shutil.which("chromium-browser")
        self._chromium = self._playwright.chromium.launch(
            executable_path=binary, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )

    def open(
        self,
        size: ViewportSize = PHONE,
        *,
        language: str = "en-US",
        colours: Literal["light", "dark"] = "light",
        scripts: bool = True,
        workers: bool = False,
    ) -> Window:
        """Open an empty window.

        Args:
            size: in CSS pixels; a narrow one is a phone's, with touch.
            language: what the browser asks pages for.
            scripts: whether pages may run JavaScript.
            workers: whether pages may install a service worker.
        """
        phone = size["width"] < _TABLET_PX
        return Window(
            self._chromium.new_context(
                viewport=size,
                is_mobile=phone,
                has_touch=phone,
                locale=language,
                color_scheme=colours,
                java_script_enabled=scripts,
                service_workers="allow" if workers else "block",
            )
        )

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._chromium.close()
        self._playwright.stop()
