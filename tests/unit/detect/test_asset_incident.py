"""A doubt that fits two sensors is one episode of the asset, told without a metric."""

import math

import pytest
from fieldstream_central.detect.config import SensorSettings
from fieldstream_central.detect.episodes import Place
from fieldstream_central.detect.incident import AFTERMATH_MS, ONSET_MS, AssetIncident, echoes
from fieldstream_central.detect.model import Finding
from fieldstream_central.detect.windows import SensorEntry
from unit.detect.detect_bench import Value, run

FLOW, CURRENT = ("dev", "flow"), ("dev", "current")
PLACE = Place("dev", "", "", "", "asset", "pump")
MINUTE_S, HOUR_S, HOUR_MS = 60.0, 3600.0, 3_600_000
FAULT_S = 30 * HOUR_S


def load(at_s: float) -> float:
    """What both sensors follow: swings of several periods."""
    return math.sin(at_s / 1000) + math.sin(at_s / 3700) + math.sin(at_s / 13000)


def following(gain: float, offset: float = 0.0) -> Value:
    """A sensor that follows the load, off by `offset` from the fault on."""
    return lambda at_s, rng: gain * load(at_s) + rng.gauss(0, 0.02) + (offset if at_s >= FAULT_S else 0.0)


def doubt(at_ms: int) -> Finding:
    return Finding(kind="drift", reason="reads 1 above", started_at=at_ms)


def test_of_two_sensors_that_disagree_both_are_named_in_one_episode() -> None:
    registry = {FLOW: SensorEntry("asset"), CURRENT: SensorEntry("asset")}
    sensors = {FLOW: following(1.0, 0.4), CURRENT: following(0.5)}
    outcome, bench = run(sensors, 36 * HOUR_S, period_s=MINUTE_S, registry=registry)
    assert bench.errors == {}
    (episode,) = outcome.episodes.values()
    assert (episode.device_id, episode.metric, episode.asset_id) == ("dev", "", "asset")
    assert episode.members == ["dev/current", "dev/flow"]
    assert "may as well be in" in episode.reason


def test_the_incident_ends_with_its_last_doubt_also_after_a_restart() -> None:
    incident = AssetIncident(PLACE, shadow=False)
    settings = SensorSettings()
    incident.found(["dev/flow", "dev/current"], doubt(0), 0, settings)
    incident.found(["dev/heat", "dev/flow"], doubt(1000), 1000, settings)
    saved = incident.to_json()
    assert saved is not None
    restored = AssetIncident(PLACE, shadow=False)
    restored.from_json(saved)
    assert restored.sensors == ["dev/current", "dev/flow", "dev/heat"]
    assert restored.gone("dev/flow", 2000, 2000) == []
    restored.gone("dev/heat", 3000, 3000)
    assert not restored.book.open


@pytest.mark.parametrize(("after_ms", "echo"), [(1, True), (ONSET_MS, False)])
def test_a_doubt_soon_after_an_episode_began_may_be_its_echo(after_ms: int, echo: bool) -> None:
    incident = AssetIncident(PLACE, shadow=False)
    incident.found(["dev/flow", "dev/current"], doubt(HOUR_MS), HOUR_MS, SensorSettings())
    assert echoes(incident.book, HOUR_MS + after_ms) == echo


def test_a_doubt_soon_after_an_episode_ended_may_be_its_echo() -> None:
    incident = AssetIncident(PLACE, shadow=False)
    end_ms = 9 * HOUR_MS
    incident.found(["dev/flow", "dev/current"], doubt(HOUR_MS), HOUR_MS, SensorSettings())
    incident.gone("dev/flow", end_ms, end_ms)
    assert echoes(incident.book, end_ms + AFTERMATH_MS - 1)
    assert not echoes(incident.book, end_ms + AFTERMATH_MS)
