"""One device that floods loses its own messages, all of which are counted, and disturbs nobody."""

from pathlib import Path

from fieldstream_edge.settings import IntakeSettings
from unit.edge.gateway_rig import Rig


def flood(rig: Rig, device: str, count: int) -> None:
    for _ in range(count):
        rig.now += 1
        rig.send(f"sensors/{device}/m", f'{{"ts": {rig.now}, "value": 1}}', packet_id=1)


def test_a_flood_is_acknowledged_counted_and_told_once_a_minute(tmp_path: Path) -> None:
    rig = Rig(tmp_path, intake=IntakeSettings(device_messages_per_s=5))
    flood(rig, "loud", 200)
    flood(rig, "calm", 20)
    assert len(rig.acknowledged) == 220
    assert rig.counters.readings == 50 + 20
    assert rig.counters.rate_limited == 150
    [letter] = [one for batch in rig.batches() for one in batch.dead]
    assert (letter.reason, letter.device_id, letter.detail.split()[0]) == ("rate-limit", "loud", "1")

    rig.now += 61_000
    flood(rig, "loud", 60)
    letters = [one for batch in rig.batches() for one in batch.dead]
    assert [one.detail.split()[0] for one in letters] == ["1", "150"]
    assert rig.counters.rate_limited == 160


def test_what_is_within_the_limit_is_never_refused_and_a_clock_set_back_gives_no_burst(tmp_path: Path) -> None:
    rig = Rig(tmp_path, intake=IntakeSettings(device_messages_per_s=5))
    for _ in range(300):
        rig.now += 199
        flood(rig, "steady", 1)
    assert rig.counters.rate_limited == 0
    rig.now -= 3_600_000
    flood(rig, "steady", 100)
    assert rig.counters.rate_limited >= 49
