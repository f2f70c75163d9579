"""The hops of the way: from figures to what each card shows, without any machinery."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fieldstream_central.serve.console import texts, wording

# Beyond these a hop is behind, or in trouble. A flush takes half a second and a job's checkpoint a few seconds,
# and lag is counted from the last checkpoint.
BEHIND_S = 15.0
TROUBLE_S = 60.0
# So few records are no lag, whatever the rate: a checkpoint's worth of a small plant.
_FEW_RECORDS = 500

# What is asked of Prometheus, every 2 s. `job` is the metric's own label; a Prometheus that does not honour it
# calls it exported_job.
QUERIES = {
    "gateway_rate": "sum(rate(fieldstream_gateway_readings_accepted_total[10s]))",
    "spool": "sum(fieldstream_gateway_spool_readings)",
    "kafka_rate": "sum(rate(fieldstream_gateway_readings_delivered_total[10s]))",
    "store_rate": 'sum(rate(fieldstream_loader_rows_total{topic="readings.clean"}[10s]))',
    "store_lag_s": "max(fieldstream_loader_lag_seconds)",
    "store_lag": "sum(fieldstream_loader_lag_records)",
    "incidents": "sum(fieldstream_alerter_incidents_open)",
}


def _job_queries(job: str) -> dict[str, str]:
    series = {
        name: [f'fieldstream_job_{metric}{{{label}="{job}"}}' for label in ("job", "exported_job")]
        for name, metric in (("rate", "records_total"), ("running", "running"))
    }
    series["rate"] = [f"rate({one}[10s])" for one in series["rate"]]
    queries = {f"{job}_{name}": f"sum({' or '.join(pair)})" for name, pair in series.items()}
    return queries | {f"{job}_lag_s": f'max(fieldstream_lag_seconds{{hop="{job}"}})'}


QUERIES |= _job_queries("pipeline") | _job_queries("detect")


class State(StrEnum):
    """How a hop does; also its CSS class."""

    OK = "ok"
    BEHIND = "warn"
    TROUBLE = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Hop:
    """One card: a figure with its unit, a line below it, a state."""

    name: str
    figure: str
    unit: str
    note: str
    state: State
    rate: float | None


@dataclass(frozen=True)
class Extras:
    """Figures that do not come from Prometheus."""

    latency_p95_s: float | None = None
    notifications_last_hour: int | None = None
    last_notification_age_s: float | None = None
    dead_letters: int = 0


def hops(figures: Mapping[str, float], extras: Extras) -> list[Hop]:
    """The seven cards in order; what is not known is said to be so."""
    return [
        _gateway(figures),
        _kafka(figures, extras),
        _job(figures, "pipeline", texts.PER_SECOND),
        _store(figures, extras),
        _job(figures, "detect", texts.WINDOWS_A_SECOND),
        _alerter(figures),
        _people(extras),
    ]


def _lag_state(lag_s: float | None) -> tuple[State, str]:
    """State and words for a lag in seconds."""
    if lag_s is None:
        return State.UNKNOWN, texts.NO_SIGNAL
    if lag_s <= BEHIND_S:
        return State.OK, texts.UP_TO_DATE
    return State.TROUBLE if lag_s > TROUBLE_S else State.BEHIND, texts.BEHIND.format(lag=wording.age(lag_s))


def _spool_state(waiting: float | None, rate: float | None) -> tuple[State, str]:
    """State and words for what waits in spools: how long it would take at the present rate."""
    if waiting is None:
        return State.UNKNOWN, texts.NO_SIGNAL
    if waiting <= _FEW_RECORDS or (rate and waiting / rate < BEHIND_S):
        return State.OK, texts.UP_TO_DATE
    state = State.TROUBLE if not rate or waiting / rate > TROUBLE_S else State.BEHIND
    return state, texts.WAITING.format(count=wording.number(waiting))


def _gateway(figures: Mapping[str, float]) -> Hop:
    rate, spool = figures.get("gateway_rate"), figures.get("spool")
    state, note = _spool_state(spool, figures.get("kafka_rate"))
    return Hop("gateway", wording.rate(rate), texts.PER_SECOND, note, state, rate)


def _kafka(figures: Mapping[str, float], extras: Extras) -> Hop:
    rate = figures.get("kafka_rate")
    state = State.UNKNOWN if rate is None else State.OK
    note = texts.NO_SIGNAL if rate is None else texts.UP_TO_DATE
    if extras.dead_letters:
        note = texts.DEAD_LETTERS.format(count=wording.number(extras.dead_letters))
    return Hop("kafka", wording.rate(rate), texts.PER_SECOND, note, state, rate)


def _job(figures: Mapping[str, float], job: str, unit: str) -> Hop:
    rate = figures.get(f"{job}_rate")
    state, note = _lag_state(figures.get(f"{job}_lag_s"))
    if figures.get(f"{job}_running", 1.0) < 1:
        state, note = State.TROUBLE, texts.STOPPED
    return Hop(job, wording.rate(rate), unit, note, state, rate)


def _store(figures: Mapping[str, float], extras: Extras) -> Hop:
    rate = figures.get("store_rate")
    state, note = _lag_state(figures.get("store_lag_s"))
    if state is State.OK and extras.latency_p95_s is not None:
        note = texts.P95.format(seconds=f"{extras.latency_p95_s:.1f}")
    return Hop("store", wording.rate(rate), texts.PER_SECOND, note, state, rate)


def _alerter(figures: Mapping[str, float]) -> Hop:
    incidents = figures.get("incidents")
    if incidents is None:
        return Hop("alerter", "–", "", texts.NO_SIGNAL, State.UNKNOWN, None)
    return Hop("alerter", wording.number(incidents), "", texts.OPEN_INCIDENTS, State.OK, incidents)


def _people(extras: Extras) -> Hop:
    sent = extras.notifications_last_hour
    if sent is None:
        return Hop("people", "–", "", texts.NO_SIGNAL, State.UNKNOWN, None)
    return Hop("people", wording.number(sent), "", texts.SENT, State.OK, float(sent))


def sparkline(values: list[float | None], *, width: int = 120, height: int = 28) -> str:
    """The recent course of a rate as an SVG; empty until there are two values."""
    points = [value for value in values if value is not None]
    if len(points) < 2:
        return ""
    top = max(*points, 1e-9)
    step = width / (len(points) - 1)
    path = " ".join(
        f"{number * step:.1f},{height - 2 - value / top * (height - 4):.1f}" for number, value in enumerate(points)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="0,{height} {path} {width},{height}" class="area"/>'
        f'<polyline points="{path}" class="line"/></svg>'
    )
