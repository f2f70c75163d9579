"""Anomaly episodes to Alertmanager: each open episode is an alert, its close resolves it.

The active episodes are what topic `anomalies` says; there is no other state. At a start the topic is read
again: up to the committed offset only to know what is active, from there on posting. Alertmanager drops
alerts that are not repeated, so the active ones are posted again every minute; the labels never change
within an episode, so a repetition is not a second notification.
"""

import logging
import time
from typing import Any

import httpx
from confluent_kafka import Consumer, Message, TopicPartition
from fieldstream_schemas.framed import RecordReader
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import ANOMALIES
from prometheus_client import Counter, Gauge, start_http_server

from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.notify.notices import Episode, Notices
from fieldstream_central.notify.silences import Silences
from fieldstream_central.settings import Settings

REPEAT_S = 60.0
SILENCES_EVERY_S = 2.0
BACKOFF_S = (0.5, 1, 2, 5, 10)
log = logging.getLogger("fieldstream.alerter")

OPEN = Gauge("fieldstream_alerter_incidents_open", "Episodes that are open and notified")
POSTS = Counter("fieldstream_alerter_posts_total", "Posts to Alertmanager", ["result"])
SKIPPED = Counter("fieldstream_alerter_undecodable_total", "Records of topic anomalies that could not be read")
SILENCES_FAILED = Counter("fieldstream_alerter_silences_failed_total", "Times Alertmanager's silences were not kept")


class Alerter:
    """Follows topic `anomalies` and keeps Alertmanager's view equal to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader = RecordReader(SchemaRegistry(settings.registry, settings.schema_cache), ANOMALIES)
        self._http = httpx.Client(base_url=settings.alertmanager, timeout=5)
        self._alarms = AlarmLog(settings)
        self._silences = Silences(self._http)
        self._silences_due = 0.0
        self._active: dict[str, Episode] = {}
        self._notices = Notices(settings.console)
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka,
                "group.id": "fieldstream-alerter",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )

    def run(self) -> None:
        """Goes on until the process is stopped."""
        start_http_server(self._settings.alerter_metrics_port, "127.0.0.1")
        self._alarms.start()
        partitions = [TopicPartition(ANOMALIES.name, number) for number in range(ANOMALIES.partitions)]
        committed = {p.partition: p.offset for p in self._consumer.committed(partitions, timeout=60)}
        self._consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in partitions])
        posted_at = time.monotonic()
        while True:
            fresh = []
            for message in self._consumer.consume(500, timeout=0.2):
                if message.error():
                    log.warning("Kafka: %s", message.error())
                elif (episode := self._apply(message)) and (message.offset() or 0) >= committed[
                    message.partition() or 0
                ]:
                    fresh.append(episode)
            OPEN.set(len(self._active))
            self._post(self._notices.openings(fresh))
            self._notices.told(fresh, time.monotonic())
            closed = self._notices.closings(time.monotonic(), time.time_ns() // 1_000_000)
            self._release(closed)
            self._post(closed)
            if fresh:
                self._consumer.commit(asynchronous=False)
            if time.monotonic() - posted_at > REPEAT_S:
                self._post(self._notices.openings(list(self._active.values())))
                posted_at = time.monotonic()
            self._keep_silences()

    def _keep_silences(self) -> None:
        """What people have set aside, made silent; Alertmanager away: at the next turn."""
        if time.monotonic() < self._silences_due or not self._alarms.ready():
            return
        self._silences_due = time.monotonic() + SILENCES_EVERY_S
        try:
            self._silences.keep(self._alarms.alarms())
        except httpx.HTTPError as error:
            SILENCES_FAILED.inc()
            log.warning("Alertmanager's silences are not up to date: %s", error)

    def _release(self, closed: list[dict[str, Any]]) -> None:
        """An acknowledged alarm's end is told: its silence must be gone first."""
        if not closed:
            return
        try:
            self._silences.release(*(resolved["labels"]["anomaly_id"] for resolved in closed))
        except httpx.HTTPError as error:
            SILENCES_FAILED.inc()
            log.warning("an acknowledgement's silence could not be ended: %s", error)

    def _apply(self, message: Message) -> Episode | None:
        """Takes one step of an episode into account; None when there is nothing to tell anybody."""
        episode = self._decode(message.value() or b"")
        if episode is None or episode["shadow"]:
            return None
        known = self._active.get(episode["anomaly_id"])
        if known and known["revision"] > episode["revision"]:
            return None  # an older step seen again after a restart of the job
        if episode["state"] == "close":
            self._active.pop(episode["anomaly_id"], None)
        else:
            self._active[episode["anomaly_id"]] = episode
        return episode

    def _decode(self, value: bytes) -> Episode | None:
        try:
            return self._reader.read(value)
        except (ValueError, EOFError, IndexError, KeyError, RegistryError) as error:
            SKIPPED.inc()
            log.error("a record of topic anomalies could not be read: %s", error)
            return None

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        """Posts until Alertmanager takes it: an incident is late rather than lost."""
        attempt = 0
        while alerts:
            try:
                self._http.post("/api/v2/alerts", json=alerts).raise_for_status()
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
