"""The right to be forgotten: one request, carried out, and its signed receipt.

The order makes it safe to repeat. First the request goes to topic `forget`, so that the eraser knows it for ever;
then the keyring forgets the person and the letters that name the person, and from then on nobody can tell whose the
pseudonyms were, in no backup either; then the store is waited for. Broken off in between, it is run again.
"""

import getpass
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Producer
from fieldstream_schemas.framed import framed
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import FORGET, READINGS_CLEAN, READINGS_RAW

from fieldstream_central.kafka_access import connection
from fieldstream_central.privacy.changing import changing
from fieldstream_central.privacy.held import letters_naming
from fieldstream_central.privacy.names import letter, person, pseudonyms
from fieldstream_central.privacy.receipt import signed, subject_mark
from fieldstream_central.settings import Settings
from fieldstream_central.store.clickhouse import ClickHouse

COMPLETE_WITHIN_S = 60.0
# The pipeline looks at the key file each second, and what it had in hand is stored soon after: so long nothing more of
# the person must come before the store counts as clean.
_QUIET_S = 5.0
# A changed Secret is in every pod after a minute, and a node's watch may be late by as much again.
_SECRET_QUIET_S = 130.0
_OLD_PARTS_S = 480  # ClickHouse deletes replaced parts of a table after that long
_SPOOL_S = 3600  # a gateway keeps delivered entries so long, by default

_LEFT = """
SELECT (SELECT count() FROM fieldstream.readings_data WHERE operator_pseudonym IN {pseudonyms:Array(String)})
    + (SELECT count() FROM fieldstream.dead_letters_data WHERE letter_id IN {letters:Array(String)} AND payload != '')
    AS n
"""


class ForgetError(Exception):
    """The request could not be carried out to its end; the message says what to do."""


@dataclass(frozen=True)
class _Request:
    request_id: str
    pseudonyms: list[str]
    letter_ids: list[str]


def forget(clickhouse: ClickHouse, settings: Settings, subject: str) -> dict[str, Any]:
    """Erases the person; the signed receipt. Raises ForgetError, ClickHouseError, KeyringError, ReceiptError."""
    with changing(settings) as (keyring, put):
        named = [one.letter_id for one in letters_naming(clickhouse, settings, subject)]
        request = _Request(secrets.token_hex(8), pseudonyms(keyring, subject), named)
        _announce(settings, request)
        put(keyring.without([person(subject), *map(letter, named)]))
    shredded_at = datetime.now(UTC)
    _wait(clickhouse, request, quiet_s=_SECRET_QUIET_S if settings.pseudonym_key_secret else _QUIET_S)
    return signed(settings.signing_key_file, _receipt(settings, subject, request, shredded_at))


def _announce(settings: Settings, request: _Request) -> None:
    registry = SchemaRegistry(settings.registry, settings.schema_cache)
    record = request.__dict__ | {
        "subject": "", "requested_at": time.time_ns() // 1_000_000, "requested_by": getpass.getuser(),
    }  # fmt: skip
    failures: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer({**connection(settings), "acks": "all", "enable.idempotence": True})
    producer.produce(FORGET.name, framed(registry, FORGET, record), request.request_id, on_delivery=delivered)
    if producer.flush(30) or failures:
        why = failures[:1] or "no answer"
        raise ForgetError(f"Kafka at {settings.kafka} did not take the request ({why}): nothing was done, run it again")


def _wait(clickhouse: ClickHouse, request: _Request, *, quiet_s: float) -> None:
    params = {"pseudonyms": request.pseudonyms, "letters": request.letter_ids}
    started = clean_since = time.monotonic()
    while time.monotonic() - clean_since < quiet_s:
        if int(clickhouse.value(_LEFT, params)):
            clean_since = time.monotonic()
        if time.monotonic() - started > max(COMPLETE_WITHIN_S, 2 * quiet_s):
            raise ForgetError(
                "the person's key is destroyed, but rows are left in the store: does the loader run (fieldstream "
                f"doctor)? It erases them once it does. Request {request.request_id}"
            )
        time.sleep(0.5)


def _receipt(settings: Settings, subject: str, request: _Request, shredded_at: datetime) -> dict[str, Any]:
    now = datetime.now(UTC)
    raw = timedelta(milliseconds=READINGS_RAW.retention_ms)
    clean = timedelta(milliseconds=READINGS_CLEAN.retention_ms)

    def at(moment: datetime) -> str:
        return moment.isoformat(timespec="seconds")

    return {
        "site": settings.site,
        "subject": subject_mark(subject),
        "done": {
            "key destroyed: pseudonyms in tables, topics and backups belong to nobody": at(shredded_at),
            "table readings: pseudonym erased, readings kept": at(now),
            f"table dead_letters: original bytes erased ({len(request.letter_ids)})": at(now),
            "new readings: stored without a pseudonym": at(shredded_at),
        },
        "gone_by": {
            "old parts of tables on disk": at(now + timedelta(seconds=_OLD_PARTS_S)),
            "gateways' spools": at(now + timedelta(seconds=_SPOOL_S)),
            "topic readings.raw: names as devices sent them until now": at(now + raw),
            "topics readings.clean, dead-letters: pseudonyms of nobody, sealed bytes": at(now + clean),
        },
        "backups": "hold pseudonyms and encrypted bytes whose keys are destroyed; erased again when one is restored",
    }


def dump(receipt: dict[str, Any]) -> str:
    """The receipt as it is handed out."""
    return json.dumps(receipt, indent=1)
