"""Chromium for the browser tests: each page must print no error and ask no other machine."""

import pytest

LOCAL = (
    "file:",
    "data:",
    "blob:",
    "http://localhost:",
    "http://127.0.0.1:",
    "ws://localhost:",
    "ws://127.0.0.1:",
)


class Watch:
    """What a page must not do, as it happens."""

    def __init__(self, page):
        self.trouble: list[str] = []
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", lambda request: self._address(request.url))
        page.on("websocket", lambda socket: self._address(socket.url))

    def _console(self, message) -> None:
        if message.type == "error":
            self.trouble.append(f"console: {message.text}")

    def _address(self, url: str) -> None:
        if not url.startswith(LOCAL):
            self.trouble.append(f"request: {url}")


@pytest.fixture
def open_page(browser):
    """Open empty pages with the given options; afterwards none of them may have misbehaved."""
    contexts, watches = [], []

    def open_one(**options):
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **options})
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        watches.append(Watch(page))
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [line for watch in watches for line in watch.trouble] == []
