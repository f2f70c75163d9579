"""The gateway's heartbeat: how it is, every few seconds, on topic `gateways`."""

import io
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import psutil
from fieldstream_schemas.topics import GATEWAYS, parsed_schema

from fieldstream_edge import __version__
from fieldstream_edge.counters import Counters
from fieldstream_edge.settings import GatewaySettings
from fieldstream_edge.spool.ledger import Spool


@dataclass
class Rate:
    """Intake over the last minutes, for the estimate of hours left."""

    stored_bytes: int = 0
    at: float = 0.0
    bytes_per_s: float = 0.0

    def update(self, stored_bytes: int, now: float) -> None:
        """Takes a new count; smooths over about two minutes."""
        if self.at and now > self.at:
            current = (stored_bytes - self.stored_bytes) / (now - self.at)
            weight = min(1.0, (now - self.at) / 120) if self.bytes_per_s else 1.0
            self.bytes_per_s += weight * (current - self.bytes_per_s)
        self.stored_bytes, self.at = stored_bytes, now


class Heartbeat:
    """Makes the records of topic `gateways`."""

    def __init__(
        self, settings: GatewaySettings, spool: Spool, counters: Counters, *, started_at: int | None = None
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._counters = counters
        self._process = psutil.Process()
        self.started_at = started_at or int(time.time() * 1000)
        self.rate = Rate()
        self.config_hash = settings.digest()
        self._expires_at = self._read_expiry()

    def record(
        self, state: str, *, oldest_received_ms: int | None = None, offsets: list[int] | None = None
    ) -> dict[str, Any]:
        """Fields as in gateway_status.avsc."""
        spool, counters = self._spool, self._counters
        now_ms = int(time.time() * 1000)
        self.rate.update(spool.counters.stored_bytes, time.monotonic())
        undelivered = spool.undelivered
        age = max(0.0, (now_ms - oldest_received_ms) / 1000) if oldest_received_ms and undelivered else 0.0
        return {
            "gateway_id": self._settings.gateway_id,
            "epoch": spool.epoch,
            "ts": now_ms,
            "state": state,
            "version": __version__,
            "config_hash": self.config_hash,
            "started_at": self.started_at,
            "last_seq": spool.last_seq,
            "last_sent_seq": spool.delivered_seq,
            "spool_readings": undelivered,
            "spool_bytes": spool.bytes,
            "spool_oldest_age_s": age,
            "spool_hours_left": self.hours_left(),
            "accepted_total": counters.accepted,
            "dead_letters_total": counters.dead_letters,
            "duplicates_total": counters.duplicates,
            "counts": self._counts(),
            "gaps": [gap._asdict() for gap in spool.gaps],
            "clock_offset_ms": float(sorted(offsets)[len(offsets) // 2]) if offsets else None,
            "certificate_expires_at": self._expires_at,
            "disk_free_bytes": shutil.disk_usage(self._settings.state_dir).free,
            "memory_bytes": self._process.memory_info().rss,
        }

    def hours_left(self) -> float | None:
        """Hours until the spool is full at the present intake, if nothing could be delivered from now on."""
        if self.rate.bytes_per_s < 0.01:
            return None
        spool = self._spool
        waiting = sum(each.size for each in spool.retained() if each.last_seq > spool.delivered_seq)
        free = min(self._settings.spool.max_bytes - waiting, shutil.disk_usage(self._settings.state_dir).free)
        return max(0.0, free / self.rate.bytes_per_s / 3600)

    def _counts(self) -> dict[str, int]:
        counters, spool = self._counters, self._spool.counters
        counts = {f"dead-letter:{reason}": count for reason, count in counters.reasons.items()}
        counts |= {f"flag:{flag}": count for flag, count in counters.flags.items()}
        others = {
            "delivered": counters.delivered_entries,
            "delivery-errors": counters.delivery_errors,
            "broker-disconnects": sum(counters.disconnects.values()),
            "sessions-lost": counters.sessions_lost,
            "spool-dropped": spool.dropped_entries,
            "spool-damaged": spool.damaged_entries,
            "spool-torn-bytes": spool.torn_bytes,
            "spool-io-errors": spool.io_errors,
            "spool-refused": spool.refused,
            "clock-steps": counters.clock_steps,
        }
        return counts | {name: count for name, count in others.items() if count}

    def _read_expiry(self) -> int | None:
        """Of the client certificate that expires first, towards brokers and Kafka, ms."""
        files = [broker.tls.cert_file for broker in self._settings.mqtt if broker.tls and broker.tls.cert_file]
        files += [file for file in [self._settings.kafka.properties.get("ssl.certificate.location")] if file]
        if not files:
            return None
        from cryptography import x509  # 9 MB resident: only where there is a certificate

        try:
            certificates = [x509.load_pem_x509_certificate(Path(file).read_bytes()) for file in files]
        except ValueError as error:
            raise OSError(f"no PEM certificate in one of {', '.join(files)}: {error}") from error
        return min(int(certificate.not_valid_after_utc.timestamp() * 1000) for certificate in certificates)


def encode(record: dict[str, Any], frame: bytes) -> bytes:
    """Framed value of topic `gateways`."""
    out = io.BytesIO()
    out.write(frame)
    fastavro.schemaless_writer(out, parsed_schema(GATEWAYS), record)
    return out.getvalue()
