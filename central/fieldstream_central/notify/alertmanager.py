"""Alertmanager as the alerter sees it: posts until it takes them, and notices when it was started anew."""

import logging
import time
from typing import Any

import httpx
from prometheus_client import Counter

from fieldstream_central.certificate import client_context
from fieldstream_central.settings import Settings

BACKOFF_S = (0.5, 1, 2, 5, 10)
log = logging.getLogger("fieldstream.alerter")

POSTS = Counter("fieldstream_alerter_posts_total", "Posts to Alertmanager", ["result"])


class Alertmanager:
    """One Alertmanager, by its API."""

    def __init__(self, settings: Settings) -> None:
        self.http = httpx.Client(base_url=settings.alertmanager, timeout=5, verify=client_context(settings))
        self._up_since = ""

    def post(self, alerts: list[dict[str, Any]]) -> None:
        """Posts until it takes them: an incident is late rather than lost."""
        attempt = 0
        while alerts:
            try:
                self.http.post("/api/v2/alerts", json=alerts).raise_for_status()
            except httpx.HTTPError as error:
                POSTS.labels("failed").inc()
                if attempt == 0:
                    log.warning("Alertmanager did not take %d alerts, trying on: %s", len(alerts), error)
                time.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
            else:
                POSTS.labels("taken").inc()
                if attempt:
                    log.warning("Alertmanager takes alerts again after %d tries", attempt + 1)
                return

    def was_restarted(self) -> bool:
        """Whether it has been started anew since the last call: it keeps no alerts. Raises httpx.HTTPError."""
        since = str(self.http.get("/api/v2/status").raise_for_status().json()["uptime"])
        before, self._up_since = self._up_since, since
        return before not in ("", since)
