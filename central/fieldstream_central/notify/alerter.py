"""Alarms to Alertmanager: each incident is an alert, its end resolves it.

What stands follows from topic `anomalies`; there is no other state. At a start the topic is read again: up to the
committed offset only to know what stands, from there on telling. Alertmanager drops alerts that are not repeated, so
what stands is posted again every minute; labels stay the same, so a repetition is not a second notification.
"""

import logging
import time

import httpx
from prometheus_client import Counter, Gauge

from fieldstream_central.alarms.gateways import GatewayWatch
from fieldstream_central.alarms.incidents import Incidents, Step, cause_of, incident_of
from fieldstream_central.alarms.life import ASIDE, Alarm, State, alarm_id_of
from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.notify.alertmanager import Alertmanager
from fieldstream_central.notify.config import load_notify
from fieldstream_central.notify.feed import Feed
from fieldstream_central.notify.ledger import Ledger
from fieldstream_central.notify.links import link_key
from fieldstream_central.notify.message import Messages
from fieldstream_central.notify.notices import Notices, alert
from fieldstream_central.notify.receiver import Receivers, make_app, serve_in_thread
from fieldstream_central.notify.render import Renderer
from fieldstream_central.notify.silences import Silences
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse, ClickHouseError

REPEAT_S = 60.0
LOOK_EVERY_S = 2.0
STUCK_S = 30.0
_STORE_S = 2.0
# Whose readings came by the gateway in the hour before it fell silent.
_DEVICES = """
SELECT DISTINCT device_id FROM fieldstream.readings_data WHERE gateway_id = {gateway:String}
    AND stored_at > fromUnixTimestamp64Milli({last:Int64}) - INTERVAL 1 HOUR
    AND stored_at < fromUnixTimestamp64Milli({last:Int64}) + INTERVAL 5 MINUTE
"""
log = logging.getLogger("fieldstream.alerter")

OPEN = Gauge("fieldstream_alerter_incidents_open", "Incidents that stand")
LOOKS_FAILED = Counter("fieldstream_alerter_silences_failed_total", "Times Alertmanager's silences were not kept")


class Alerter:
    """Follows the alarms and keeps Alertmanager's view equal to them."""

    def __init__(self, settings: Settings) -> None:
        """Raises NotifyError."""
        self._settings = settings
        self._config = load_notify(settings.notify_file)
        self._alarms = AlarmLog(settings)
        self._ledger = Ledger(settings.notify_ledger)
        self._alertmanager = Alertmanager(settings)
        self._silences = Silences(self._alertmanager.http)
        self._feed, self._incidents, self._watch = Feed(settings), Incidents(), GatewayWatch()
        self._notices = Notices()
        self._escalated: dict[tuple[str, str], Step] = {}  # by incident and receiver
        self._turned_at = time.monotonic()
        self._looked_at = self._repeated_at = 0.0
        messages = Messages(settings, self._config, link_key(settings.link_key_file), self._alarms.alarm)
        self._receivers = Receivers(
            self._config,
            alarms=self._alarms,
            messages=messages,
            renderer=Renderer(settings.notify_templates),
            ledger=self._ledger,
            alive=lambda: time.monotonic() - self._turned_at < STUCK_S and self._alarms.ready(),
        )

    def run(self) -> None:
        """Goes on until the process is stopped."""
        serve_in_thread(make_app(self._receivers), self._settings)
        self._alarms.start()
        self._feed.start()
        while True:
            self._turn()
            self._turned_at = time.monotonic()

    def _turn(self) -> None:
        now_ms = _now_ms()
        self._feed.read(
            lambda step, told: self._incidents.take(step, told=told), lambda one: self._watch.heard(one, _now_ms())
        )
        if not (self._feed.caught_up() and self._alarms.ready()):
            return
        self._look_up_devices(now_ms)
        suspected = self._watch.suspected(now_ms)
        steps = self._watch.steps(self._incidents, now_ms)
        steps += self._incidents.settle(
            self._joinable,
            lambda step: cause_of(step) == "connection" and step["device_id"] in suspected,
            self._watch.parents(self._incidents),
        )
        self._feed.write(steps)
        self._tell()
        self._feed.commit()
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._look()
            self._looked_at = time.monotonic()

    def _tell(self) -> None:
        """Posts what is new and what is over."""
        heads, ended = self._incidents.heads(), self._incidents.ended()
        OPEN.set(len(heads))
        fresh = [step for step in self._notices.openings((*heads.values(), *ended)) if self._is_told_of(step)]
        replaced = [known for step in fresh if (known := self._notices.known(step))]  # it has become worse
        self._alertmanager.post(
            [
                *(alert(step, self._settings.console, ends_at_ms=_now_ms()) for step in replaced),
                *(alert(step, self._settings.console) for step in fresh),
            ]
        )
        now_s = time.monotonic()
        self._notices.told(fresh, now_s)
        self._notices.over(ended)
        if closed := self._notices.closings(now_s):
            self._resolve(closed)

    def _resolve(self, closed: list[Step]) -> None:
        """The end of an acknowledged incident is told: its silence must be gone first."""
        incidents = {incident_of(step) for step in closed}
        try:
            self._silences.release(incidents)
        except httpx.HTTPError as error:
            LOOKS_FAILED.inc()
            log.warning("silences of incidents that are over could not be ended: %s", error)
        at = _now_ms()
        posts = [alert(step, self._settings.console, ends_at_ms=at) for step in closed]
        self._escalated = {key: step for key, step in self._escalated.items() if key[0] not in incidents}
        later = {rule.receiver for rule in self._config.escalation}
        posts += [
            alert(step, self._settings.console, ends_at_ms=at, receiver=receiver)
            for step in closed
            for receiver in sorted(later)
            if self._ledger.was_told(receiver, incident_of(step))
        ]
        self._alertmanager.post(posts)

    def _look(self) -> None:
        """Silences, escalation, whether Alertmanager was restarted; it being away: at the next turn."""
        heads = self._incidents.heads()
        alarms = {incident: self._alarms.alarm(alarm_id_of(step)) for incident, step in heads.items()}
        try:
            if self._alertmanager.was_restarted():
                self._tell_again()
            self._silences.keep(alarms)
        except httpx.HTTPError as error:
            LOOKS_FAILED.inc()
            log.warning("Alertmanager's silences are not up to date: %s", error)
        posts = []
        for key, step in self._escalations(heads, alarms).items():
            if key not in self._escalated:
                self._escalated[key] = step
                posts.append(alert(step, self._settings.console, receiver=key[1]))
        if time.monotonic() - self._repeated_at > REPEAT_S:
            self._repeated_at = time.monotonic()
            known = [known for step in heads.values() if (known := self._notices.known(step))]
            posts += [alert(step, self._settings.console) for step in known]
            posts += [alert(step, self._settings.console, receiver=key[1]) for key, step in self._escalated.items()]
        self._alertmanager.post(posts)

    def _tell_again(self) -> None:
        """Alertmanager keeps no alerts over a restart. What ended just before may not have been told by it."""
        log.warning("Alertmanager was started anew; everything that stands is told again")
        ended = self._notices.forgotten()
        untold = self._ledger.untold_ends([incident_of(step) for step in ended])
        again = [step for step in ended if incident_of(step) in untold]
        self._alertmanager.post([alert(step, self._settings.console) for step in again])
        self._notices.told(again, time.monotonic())
        self._notices.over(again)
        self._repeated_at = 0.0

    def _escalations(self, heads: dict[str, Step], alarms: dict[str, Alarm]) -> dict[tuple[str, str], Step]:
        """What nobody has acknowledged for longer than the schedule allows, by incident and receiver."""
        now_ms = _now_ms()
        return {
            (incident, rule.receiver): step
            for incident, step in heads.items()
            if alarms[incident].state(now_ms) is State.UNACKNOWLEDGED
            for rule in self._config.escalation
            if step["severity"] in rule.severities and now_ms - step["detected_at"] >= rule.after_minutes * 60_000
        }

    def _is_told_of(self, step: Step) -> bool:
        """Not what has been set aside; once told, a silence keeps it quiet."""
        return self._alarms.alarm(alarm_id_of(step)).state(_now_ms()) not in ASIDE

    def _joinable(self, step: Step) -> bool:
        """Whether others may join it: nobody has dealt with it yet, and nobody set it aside."""
        alarm = self._alarms.alarm(alarm_id_of(step))
        return self._is_told_of(step) and alarm.acknowledged_episode != step["anomaly_id"]

    def _look_up_devices(self, now_ms: int) -> None:
        for gateway_id, last in self._watch.unknown(now_ms).items():
            try:
                with ClickHouse(self._settings.clickhouse, timeout_s=_STORE_S) as store:
                    rows = store.rows(_DEVICES, {"gateway": gateway_id, "last": last})
            except ClickHouseError as error:
                log.warning(
                    "devices of silent gateway %s: not known, each gap is told by itself: %s", gateway_id, error
                )
                rows = []
            self._watch.tell_devices(gateway_id, [row["device_id"] for row in rows])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
