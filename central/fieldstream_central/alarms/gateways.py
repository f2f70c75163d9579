"""Gateways that have fallen silent, as alarms: the parents of the gaps of their devices.

A gateway sends a heartbeat every ten seconds. After two that did not come its devices' gaps wait, so that nobody is
woken by what the gateway explains; after a minute the gateway is away. It is back when it is heard again and its
devices' gaps have ended, or two minutes later: until then what it has kept on disk is on its way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldstream_central.alarms.incidents import GATEWAY, Incidents, Step

SUSPECT_MS, AWAY_MS, RETURN_MS = 25_000, 60_000, 120_000


@dataclass
class _Gateway:
    """`ts`: of its newest heartbeat, by its own clock; `heard_at`: when that came, by ours."""

    ts: int
    heard_at: int
    stopping: bool
    devices: list[str] | None = None  # whose readings came by it; looked up when it falls silent
    back_at: int | None = None

    def silent_ms(self, now_ms: int) -> int:
        """0 of one that was stopped on purpose."""
        return 0 if self.stopping else now_ms - self.heard_at


@dataclass
class GatewayWatch:
    """Follows heartbeats by our own clock, so that a gateway's wrong one does no harm."""

    _known: dict[str, _Gateway] = field(default_factory=dict)

    def heard(self, status: Mapping[str, Any], now_ms: int) -> None:
        """A heartbeat. Those of before our start count as heard now: nothing is away within the first minute."""
        before = self._known.setdefault(status["gateway_id"], _Gateway(status["ts"], now_ms, stopping=False))
        if status["ts"] >= before.ts:
            before.ts, before.heard_at, before.stopping = status["ts"], now_ms, status["state"] == "stopping"

    def unknown(self, now_ms: int) -> dict[str, int]:
        """Silent gateways whose devices are to be looked up, with the time of their last heartbeat."""
        return {
            name: one.ts
            for name, one in self._known.items()
            if one.devices is None and one.silent_ms(now_ms) > SUSPECT_MS
        }

    def tell_devices(self, gateway_id: str, devices: list[str]) -> None:
        """The devices whose readings came by this gateway before it fell silent."""
        self._known[gateway_id].devices = devices

    def suspected(self, now_ms: int) -> frozenset[str]:
        """Devices behind gateways that are silent and may be away."""
        suspects = [one for one in self._known.values() if SUSPECT_MS < one.silent_ms(now_ms) <= AWAY_MS]
        return frozenset(device for one in suspects for device in one.devices or ())

    def parents(self, incidents: Incidents) -> dict[str, str]:
        """Of the devices behind gateways that are away: the parent."""
        away = incidents.gateways()
        return {
            device: away[name]["anomaly_id"]
            for name, one in self._known.items()
            if name in away
            for device in one.devices or ()
        }

    def steps(self, incidents: Incidents, now_ms: int) -> list[Step]:
        """Begins and ends the parents that are due; their steps, to be written."""
        steps = []
        away = incidents.gateways()
        for name, one in self._known.items():
            silent, parent = one.silent_ms(now_ms) > AWAY_MS, away.get(name)
            if parent is None and silent:
                steps.append(incidents.open(_parent(name, one.ts, now_ms)))
            elif parent is None and one.silent_ms(now_ms) <= SUSPECT_MS:
                one.devices = one.back_at = None
            elif parent is not None and one.ts > parent["started_at"]:
                one.back_at = one.back_at or now_ms
                if not incidents.standing(parent["anomaly_id"]) or now_ms - one.back_at > RETURN_MS:
                    steps.append(incidents.close(parent["anomaly_id"], now_ms))
        return steps


def _parent(gateway_id: str, last_ts: int, now_ms: int) -> Step:
    """The alarm of a gateway that is away."""
    return {
        **{"anomaly_id": f"gateway-{gateway_id}-{last_ts}", "device_id": gateway_id, "metric": "", "members": []},
        **{"site": "", "area": "", "asset_id": "", "asset_type": "", "detector": GATEWAY, "kind": "gateway-offline"},
        **{"severity": "critical", "state": "open", "score": 1.0, "shadow": False, "ended_at": None},
        **{"started_at": last_ts, "detected_at": now_ms, "evidence_start": last_ts, "evidence_end": now_ms},
        "reason": f"no heartbeat for {AWAY_MS // 1000} s; if it runs, its readings wait on its disk",
    }
