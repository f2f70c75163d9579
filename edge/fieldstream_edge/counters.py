"""What the gateway counts. Plain attributes: each is written by one thread, and read by any."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Counted since the process started."""

    messages: int = 0
    accepted: int = 0  # readings and dead letters that are durable
    readings: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    delivered: int = 0  # readings with delivery report
    delivered_entries: int = 0
    delivery_errors: int = 0
    producer_restarts: int = 0
    commit_retries: int = 0
    connects: Counter[str] = field(default_factory=Counter)  # by broker
    disconnects: Counter[str] = field(default_factory=Counter)
    sessions_lost: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # dead letters by reason
    flags: Counter[str] = field(default_factory=Counter)  # readings by flag
    heartbeats: int = 0
    clock_steps: int = 0
    rate_limited: int = 0  # messages beyond intake.device_messages_per_s
    own_messages: int = 0  # our own status topic, seen through a wide subscription
