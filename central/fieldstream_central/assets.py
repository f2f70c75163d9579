"""The asset registry from a plant file: every sensor of the file to topic `assets`."""

import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Producer
from fieldstream_schemas.registry import SchemaRegistry, frame_header
from fieldstream_schemas.topics import ASSETS, parsed_schema

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings

LIMITS = ("low_low", "low", "high", "high_high")


class PlantFileError(Exception):
    """The plant file lacks something or contradicts itself; the message names file and entry."""


def sensors(plant_file: Path) -> Iterator[dict[str, Any]]:
    """Every sensor of a plant file as a record of asset.avsc, without `updated_at`.

    Raises PlantFileError.
    """
    try:
        plant = tomllib.loads(plant_file.read_text())
        for asset in plant["asset"]:
            for device in asset["device"]:
                for sensor in device["sensor"]:
                    yield {
                        "device_id": device["id"],
                        "metric": sensor["metric"],
                        "site": plant["site"],
                        "area": asset.get("area", ""),
                        "asset_id": asset["id"],
                        "asset_type": asset["type"],
                        "label": sensor.get("label", ""),
                        "unit": sensor.get("unit"),
                        "period_ms": sensor.get("period_ms"),
                    } | checked_limits(sensor, f"{plant_file}: {device['id']}/{sensor['metric']}")
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PlantFileError(f"{plant_file}: {error}") from error
    except KeyError as error:
        raise PlantFileError(f"{plant_file}: an asset, device or sensor lacks {error}") from error


def checked_limits(sensor: dict[str, Any], where: str) -> dict[str, float | None]:
    """The four alarm limits; refuses limits that are not in rising order."""
    limits = {name: float(sensor[name]) if name in sensor else None for name in LIMITS}
    given = [value for value in limits.values() if value is not None]
    if given != sorted(given):
        raise PlantFileError(f"{where}: the limits must rise from low_low to high_high, they are {limits}")
    return limits


def publish(settings: Settings, plant_file: Path, *, now_ms: int) -> int:
    """Writes every sensor of the file to topic `assets`. Returns how many. Raises PlantFileError."""
    rows = list(sensors(plant_file))
    header = frame_header(SchemaRegistry(settings.registry, settings.schema_cache).wait_for_id(ASSETS))
    producer = Producer({**connection(settings), "enable.idempotence": True})
    for row in rows:
        body = BytesIO()
        fastavro.schemaless_writer(body, parsed_schema(ASSETS), row | {"updated_at": now_ms})
        producer.produce(ASSETS.name, header + body.getvalue(), f"{row['device_id']}/{row['metric']}")
    if left := producer.flush(30):
        raise PlantFileError(f"Kafka at {settings.kafka} did not confirm {left} of {len(rows)} sensors within 30 s")
    return len(rows)
