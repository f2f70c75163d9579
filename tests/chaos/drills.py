"""The drills: what is broken, while a fleet sends.

A drill passes when the oracle finds nothing missing, doubled or wrong afterwards, without anybody's help.
"""

from pathlib import Path

from chaos import harm, letters, records, versions
from chaos.harm import Drill

# A detector of somebody's own that raises on every row, as an installed package brings it.
BROKEN_DETECTOR = {
    "broken_detector.py": """\
class Broken:
    name, version = "broken", "1"

    def on_window(self, window, state):
        raise RuntimeError("this detector is broken on purpose")
""",
    "broken-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: broken\nVersion: 1\n",
    "broken-1.dist-info/entry_points.txt": "[fieldstream.detectors]\nbroken = broken_detector:Broken\n",
}


def broken_detector(folder: Path) -> Path:
    """A folder to put on the path, with the broken detector installed in it."""
    for name, text in BROKEN_DETECTOR.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


DRILLS = [
    Drill("gateway-kill", "gateway kill -9, three times", harm.kill(*["gateway"] * 3), short=True, storm=True),
    Drill("power-cut", "gateway's host loses power, twice", harm.power_cut, needs="mounts", storm=True),
    Drill("second-gateway", "a second gateway on the same spool", harm.second_gateway, storm=True, calm=True),
    Drill("mqtt-restart", "MQTT broker restarted", harm.restart("mosquitto", 3), storm=True),
    Drill("network-cut", "no network between gateway and Kafka for 2 min", harm.network(lambda p: p.cut(120)),
          needs="proxy"),
    Drill("network-slow", "40 KB/s and a second each way", harm.network(harm.slow), needs="proxy"),
    Drill("network-lossy", "answers lost, connections broken off", harm.network(harm.lossy), needs="proxy", storm=True),
    Drill("kafka-kill", "Kafka kill -9", harm.kill("kafka"), storm=True),
    Drill("kafka-away", "Kafka away for 30 s", harm.away("kafka", 30)),
    Drill("registry-dead", "registry away for 40 s", harm.away("registry", 40)),
    Drill("registry-dead-at-restart", "registry dead while a job restarts", harm.registry_dead_while_a_job_restarts,
          storm=True),
    Drill("taskmanager-kill", "TaskManager kill -9", harm.kill("flink-taskmanager"), short=True, storm=True),
    Drill("jobmanager-kill", "JobManager kill -9", harm.kill("flink-jobmanager"), short=True, storm=True),
    Drill("python-worker-kill", "Python worker of detect kill -9", harm.kill_python_worker),
    Drill("retention-kill", "Kafka deletes what was read, TaskManager kill -9", harm.retention_then_kill, calm=True),
    Drill("loader-kill", "loader kill -9, five times", harm.kill(*["loader"] * 5), short=True, storm=True),
    Drill("two-loaders", "a second loader by mistake", harm.second_loader, storm=True),
    Drill("clickhouse-kill", "ClickHouse kill -9, three times", harm.kill(*["clickhouse"] * 3), short=True, storm=True),
    Drill("clickhouse-away", "ClickHouse away for 90 s", harm.away("clickhouse", 90)),
    Drill("alerter-kill", "alerter kill -9, twice", harm.kill("alerter", "alerter"), storm=True),
    Drill("alertmanager-away", "Alertmanager away for 30 s", harm.restart("alertmanager", 30)),
    Drill("gateway-disk-full", "gateway's disk full for 20 s", harm.disk_full("gateway", 20), needs="mounts",
          storm=True),
    Drill("kafka-disk-full", "Kafka's disk full for 30 s", harm.disk_full("kafka", 30), needs="mounts"),
    Drill("checkpoint-disk-full", "checkpoints' disk full, TaskManager kill -9",
          harm.disk_full("flink/checkpoints", 30, kill_meanwhile="flink-taskmanager"), needs="mounts", storm=True),
    Drill("upgrade", "both jobs upgraded in mid-stream", versions.upgrade, storm=True, calm=True),
    Drill("upgrade-changed", "upgrade to one with one more column", versions.upgrade_to_one_more_column, calm=True),
    Drill("upgrade-refused", "upgrade that does not fit the state", versions.upgrade_that_does_not_fit, calm=True),
    Drill("put-back", "back to the savepoints before an upgrade", versions.put_back, calm=True),
    Drill("migration", "the store's largest table made anew", versions.migration, alone={}),
    Drill("poison", "records nobody can read, 10 MB", records.poison, storm=True, calm=True),
    Drill("dead-letters", "dead letters replayed twice", letters.replayed, calm=True),
    Drill("sent-again", "an uplink sends seconds again", records.sent_again, storm=True, calm=True),
    Drill("everything-twice", "every reading sent twice", harm.nothing, ("--duplicate-share", "1")),
    Drill("disorder", "random order within 10 min", records.disorder(600)),
    Drill("late", "late by 5 min, 9 min 59 s, 11 min, 3 days", records.backdated(300, 599, 660, 3 * 86_400),
          short=True, storm=True),
    Drill("clock-ahead", "a device clock one hour ahead", records.clock_ahead),
    Drill("idle", "all devices but one fall silent", records.idle_devices_hold_nothing_open, silent_from_s=15),
    Drill("burst", "ten times the rate", harm.nothing, ("--rate-factor", "10")),
    Drill("broken-detector", "a detector raises on every row", harm.nothing, alone={"code": broken_detector}),
    Drill("gap", "readings removed from Kafka: audit and alarm", records.gap, alone={}),
]  # fmt: skip
