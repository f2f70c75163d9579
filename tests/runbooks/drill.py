"""A drill: an alert is caused, its page is followed, the alert ends."""

import time
from collections.abc import Callable

from chaos.harm import until
from fieldstream_central.settings import load_settings
from fieldstream_central.store.clickhouse import ClickHouse
from local.layout import Layout

from runbooks.page import SQL, Page, filled
from runbooks.watched import alerts, command, figures, told

UNTIL_S = 400.0  # a bound, not a promise
FOLLOWED: set[tuple[str, str]] = set()  # (page, command), of all drills so far
ENDED: set[str] = set()  # alerts that have ended


class Drill:
    """One alert on a running stack. `page`: if it is not called like the alert; `words`: for its placeholders."""

    def __init__(self, layout: Layout, name: str, *, page: str = "", **words: str) -> None:
        self.layout, self.name, self.words = layout, name, words
        self._page_name = page or name
        self.page = Page.read(self._page_name)
        self.labels: dict[str, str] = {}
        self._began_ms = time.time_ns() // 1_000_000

    def raised(self, *, hears: bool = True, **labels: str) -> None:
        """Waits until Alertmanager holds the alert with these labels and, if a message can come, somebody is told."""
        self.labels = labels
        until(f"{self.name} {labels} is raised", lambda: bool(alerts(self.layout, self.name, labels)), UNTIL_S)
        if hears:
            until(f"somebody is told of {self.name}", lambda: told(self.layout, self.name, self._began_ms), UNTIL_S)

    def look(self, section: str = "First look") -> dict[str, str]:
        """Gives every command of a section; what each said, by the command as it stands on the page."""
        return {text: self._give(text) for text in self.page.commands(section)}

    def do(self, text: str, section: str = "Remedy") -> str:
        """Gives the one command of a section that begins with this text."""
        [whole] = [one for one in self.page.commands(section) if one.startswith(text)]
        return self._give(whole)

    def over(self, well: Callable[[float], bool] | None = None, **labels: str) -> None:
        """Waits until the alert has ended, and the page's figure says what the page says."""
        until(f"{self.name} ends", lambda: not alerts(self.layout, self.name, self.labels), UNTIL_S)
        ENDED.add(self.name)
        if well is not None:
            metric = self.page.figure()
            until(f"{metric} is well", lambda: any(map(well, figures(self.layout, metric, labels))), UNTIL_S)

    def _give(self, text: str) -> str:
        FOLLOWED.add((self._page_name, text))
        if text.startswith(SQL):
            with ClickHouse(load_settings(self.layout.settings_file).clickhouse) as store:
                store.execute(filled(text, self.words))
            return ""
        done = command(self.layout, text, self.words)
        said = done.stdout + done.stderr
        # 1 is what doctor, audit, status and test end with when they find something, which make turns into 2.
        assert done.returncode <= (2 if text.startswith("make ") else 1), f"{self.name}: {text}: {said}"
        assert "Traceback" not in said, f"{self.name}: {text}: {said}"
        return said
