"""Incidents: alarms of one asset and one cause that begin within a minute of each other are one.

An incident of one alarm is that alarm. From the second on a parent stands for all: an alarm of its own on topic
`anomalies`, so that it has a life, is stored and is shown; its episode names the members and lasts as long as any of
them. A gateway that is away is a parent too: of the gaps of its devices, however late they come.

What is kept here follows from the topic alone, parents included; only the alerter writes these.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from fieldstream_central.alarms.life import Episodes, alarm_id_of, members_of, rank

JOIN_MS = 60_000
DETECTOR, GATEWAY = "incident", "gateway"
_EPISODES_KEPT = 500_000
_NAMED = 5  # members that the reason tells one by one
_CAUSES = {"gap": "connection", GATEWAY: "connection", "stuck": "sensor", "noise": "sensor", "resolution": "sensor"}

Step = dict[str, Any]
Key = tuple[str, str, str]  # site, asset, cause
Joinable = Callable[[Step], bool]


def incident_of(step: Step) -> str:
    """The incident's identity, the same from its first alarm to its end: that alarm's episode."""
    return str(step["anomaly_id"]).partition("~")[0]


def cause_of(step: Step) -> str:
    """What kind of trouble it is: connection, sensor or process."""
    if is_parent(step) and step["detector"] != GATEWAY:
        return str(step["kind"]).removesuffix("-incident")
    return _CAUSES.get(step["detector"], "process")


def asset_of(step: Step) -> str:
    """The machine, or the device where no machine is known."""
    return str(step["asset_id"] or step["device_id"])


def is_parent(step: Step) -> bool:
    """Whether the step is of an alarm that stands for others."""
    return step["detector"] == GATEWAY or str(step["detector"]).startswith(DETECTOR)


class Incidents:
    """All incidents that stand. `take` every step of topic `anomalies`, then `settle` what is new."""

    def __init__(self) -> None:
        self._episodes = Episodes()
        self._revisions: dict[str, int] = {}
        self._steps: dict[str, Step] = {}  # by anomaly id: what stands, or is over and not settled
        self._unsettled: dict[str, None] = {}  # in the order in which they came
        self._over: set[str] = set()
        self._ends: dict[str, int] = {}  # by alarm: when its newest episode ended
        self._parents: dict[str, Step] = {}  # by anomaly id: parents that stand
        self._standing: dict[str, set[str]] = {}  # parent -> episodes of members that stand
        self._parent_of: dict[str, str] = {}  # alarm id of a member -> its parent
        self._heads: dict[str, Key] = {}  # anomaly ids that people are told of: parents, and alarms without one
        self._by_key: dict[Key, set[str]] = {}
        self._began: dict[str, float] = {}  # alarm id of a parent -> when its last episode began; infinite: it stands
        self._changed: set[str] = set()
        self._ended: list[Step] = []

    def take(self, step: Step, *, told: bool = False) -> None:
        """One step, in any order between episodes; an older one changes nothing. `told`: its end is known to all."""
        anomaly_id = step["anomaly_id"]
        if step["revision"] <= self._revisions.get(anomaly_id, 0):
            return
        self._revisions[anomaly_id] = step["revision"]
        if len(self._revisions) > _EPISODES_KEPT:
            del self._revisions[next(iter(self._revisions))]
        step = self._episodes.first(step)
        if is_parent(step):
            self._take_parent(step, told=told)
        elif step["state"] == "close":
            self._ends[alarm_id_of(step)] = step["ended_at"]
            if told:
                self._drop(anomaly_id)
            else:
                self._take_alarm(step)
        else:
            self._take_alarm(step)

    def settle(self, joinable: Joinable, held: Callable[[Step], bool], gateway_of: Mapping[str, str]) -> list[Step]:
        """Gives each new alarm its incident; the parents' steps that follow, to be written.

        `joinable`: nobody has set the alarm aside. `held`: not to be decided yet. `gateway_of`: of the devices behind
        gateways that are away, the parent.
        """
        for anomaly_id in list(self._unsettled):
            step = self._steps[anomaly_id]
            parent = self._parent_of.get(alarm_id_of(step))
            if parent is None:
                if held(step):
                    continue
                parent = self._find(step, joinable, gateway_of)
            del self._unsettled[anomaly_id]
            if step["state"] == "close":
                self._over.add(anomaly_id)
            if parent is None:
                self._lead(anomaly_id, step)
            else:
                self._join(parent, step)
        changed, self._changed = self._changed & self._parents.keys(), set()
        return [self._revised(parent) for parent in sorted(changed)] + self._close()

    def heads(self) -> dict[str, Step]:
        """What people are told of, by incident: parents, and alarms without one."""
        found = [self._parents.get(anomaly_id) or self._steps[anomaly_id] for anomaly_id in self._heads]
        return {incident_of(step): step for step in found}

    def ended(self) -> list[Step]:
        """What of that has ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def standing(self, parent: str) -> bool:
        """Whether any member of a parent stands."""
        return bool(self._standing.get(parent))

    def gateways(self) -> dict[str, Step]:
        """Gateways that are away, by name."""
        return {step["device_id"]: step for step in self._parents.values() if step["detector"] == GATEWAY}

    def open(self, step: Step) -> Step:
        """Begins a parent, or begins it anew; the step to be written."""
        step = step | {"revision": self._revisions.get(step["anomaly_id"], 0) + 1}
        self._revisions[step["anomaly_id"]] = step["revision"]
        self._take_parent(step)
        return step

    def close(self, parent: str, ended_at: int) -> Step:
        """Ends a parent; the step to be written. Its members that still stand speak for themselves again."""
        known = self._parents[parent]
        step = known | {"state": "close", "ended_at": max(ended_at, known["started_at"])}
        step["revision"] = self._revisions[parent] = known["revision"] + 1
        self._take_parent(step)
        return step

    def _take_alarm(self, step: Step) -> None:
        anomaly_id = step["anomaly_id"]
        if anomaly_id not in self._steps:
            self._unsettled[anomaly_id] = None
        self._steps[anomaly_id] = step
        if anomaly_id not in self._unsettled:
            (self._over.add if step["state"] == "close" else self._over.discard)(anomaly_id)
        parent = self._parents.get(self._parent_of.get(alarm_id_of(step), ""))
        if parent and rank(step["severity"]) > rank(parent["severity"]):
            self._changed.add(parent["anomaly_id"])

    def _take_parent(self, step: Step, *, told: bool = False) -> None:
        parent = step["anomaly_id"]
        if step["state"] != "close":
            self._began[alarm_id_of(step)] = math.inf
            self._parents[parent] = step
            self._standing.setdefault(parent, set())
            for member in members_of(step):
                self._parent_of[member] = parent
            self._lead(parent, step)
            return
        if self._parents.pop(parent, None) is not None and not told:
            self._ended.append(step)
        self._began[alarm_id_of(step)] = step["started_at"]
        for member in members_of(step):
            if self._parent_of.get(member) == parent:
                del self._parent_of[member]
        for anomaly_id in self._standing.pop(parent, set()):
            self._unsettled[anomaly_id] = None
        self._unlead(parent)

    def _find(self, step: Step, joinable: Joinable, gateway_of: Mapping[str, str]) -> str | None:
        """The parent that a new alarm belongs to, which may begin with it; None: it stands alone."""
        if cause_of(step) == "connection" and step["device_id"] in gateway_of:
            return gateway_of[step["device_id"]]
        if not joinable(step):
            return None
        for head in sorted(self._by_key.get(_key(step), ())):
            known = self._parents.get(head) or self._steps[head]
            if abs(int(step["detected_at"]) - int(known["detected_at"])) <= JOIN_MS and joinable(known):
                return head if head in self._parents else self._begin(known)
        return None

    def _begin(self, first: Step) -> str:
        """A parent that goes on as the incident of the first alarm."""
        number = 1  # one asset may have several incidents at once, each an alarm of its own
        while self._began.get(alarm_id := f"{asset_of(first)}//{_numbered(number)}", -1) >= first["started_at"]:
            number += 1
        self._began[alarm_id] = math.inf
        kept = ("site", "area", "asset_id", "started_at", "detected_at", "evidence_start", "evidence_end")
        parent = f"{first['anomaly_id']}~{first['detected_at']}"
        self._parents[parent] = {
            **{name: first[name] for name in kept},
            **{"anomaly_id": parent, "device_id": asset_of(first), "metric": "", "detector": _numbered(number)},
            **{"asset_type": first.get("asset_type", ""), "kind": f"{cause_of(first)}-incident", "reason": ""},
            **{"severity": first["severity"], "state": "open", "score": 0.0, "ended_at": None, "members": []},
            **{"shadow": False, "revision": 0},
        }
        self._standing[parent] = set()
        self._unlead(first["anomaly_id"])
        self._lead(parent, first)
        self._join(parent, first)
        return parent

    def _join(self, parent: str, step: Step) -> None:
        alarm_id, known = alarm_id_of(step), self._parents[parent]
        if alarm_id not in known["members"]:
            self._parents[parent] = known | {"members": [*known["members"], alarm_id]}
            self._changed.add(parent)
        self._parent_of[alarm_id] = parent
        self._standing[parent].add(step["anomaly_id"])

    def _revised(self, parent: str) -> Step:
        """The parent's next step, after what its members say."""
        known = self._parents[parent]
        members = [self._steps[anomaly_id] for anomaly_id in sorted(self._standing[parent])]
        newest = max(step["detected_at"] for step in (known, *members))
        step = known | {
            "state": "update" if known["revision"] else "open",
            "severity": max((one["severity"] for one in (known, *members)), key=rank),
            "score": max(one.get("score", 1.0) for one in (known, *members)),
            "detected_at": newest,
            "evidence_end": newest,
        }
        if known["detector"] != GATEWAY:
            step["reason"] = _reason(step, members)
        step["revision"] = self._revisions[parent] = max(known["revision"], self._revisions.get(parent, 0)) + 1
        self._take_parent(step)
        return step

    def _close(self) -> list[Step]:
        """Ends what is over: lone alarms, and parents of which no member stands."""
        for anomaly_id in list(self._over):
            step = self._steps[anomaly_id]
            if anomaly_id in self._heads:
                self._ended.append(step)
            self._drop(anomaly_id)
        empty = [key for key, step in self._parents.items() if step["detector"] != GATEWAY and not self._standing[key]]
        return [self.close(parent, self._newest_end(self._parents[parent])) for parent in empty]

    def _newest_end(self, parent: Step) -> int:
        return max((self._ends.get(member, 0) for member in parent["members"]), default=0)

    def _drop(self, anomaly_id: str) -> None:
        step = self._steps.pop(anomaly_id, None)
        if step is not None:
            self._standing.get(self._parent_of.get(alarm_id_of(step), ""), set()).discard(anomaly_id)
        self._unsettled.pop(anomaly_id, None)
        self._over.discard(anomaly_id)
        self._unlead(anomaly_id)

    def _lead(self, anomaly_id: str, step: Step) -> None:
        if anomaly_id not in self._heads:
            self._heads[anomaly_id] = _key(step)
            self._by_key.setdefault(_key(step), set()).add(anomaly_id)

    def _unlead(self, anomaly_id: str) -> None:
        key = self._heads.pop(anomaly_id, None)
        if key is not None:
            self._by_key[key].discard(anomaly_id)


def _key(step: Step) -> Key:
    return step["site"], asset_of(step), cause_of(step)


def _numbered(number: int) -> str:
    return DETECTOR if number == 1 else f"{DETECTOR}-{number}"


def _reason(parent: Step, standing: list[Step]) -> str:
    sensors = {(step["device_id"], step["metric"]) for step in standing}
    named = [f"{' '.join(filter(None, (one['device_id'], one['metric'])))}: {one['kind']}" for one in standing[:_NAMED]]
    more = f" and {len(standing) - _NAMED} more" if len(standing) > _NAMED else ""
    return f"{len(parent['members'])} alarms on {len(sensors)} sensors: {'; '.join(named)}{more}"
