"""The job "detect": window rows to anomaly episodes, in Python, one live `CohortDetection` per key.

A separate job, so that a broken detector never stops the data. What it learned is kept in Flink's state
as the parts that `CohortDetection.dump_changed` gives, so a restart goes on where it stopped.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import fastavro
from fieldstream_schemas.registry import FRAME_BYTES, SchemaRegistry, frame_header, schema_id_of
from fieldstream_schemas.topics import ANOMALIES, WINDOWS, parsed_schema
from pyflink.common import Configuration, Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import MapStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import StatementSet, StreamTableEnvironment

from fieldstream_central.detect.cohort import CohortDetection
from fieldstream_central.detect.config import DetectionConfig
from fieldstream_central.detect.model import Anomaly, Window
from fieldstream_central.detect.packing import StateVersionError
from fieldstream_central.kafka_access import Properties, as_sql, of_job, of_worker
from fieldstream_central.maintenance import MaintenanceFeed
from fieldstream_central.settings import Settings
from fieldstream_central.stream.cluster import job_configuration
from fieldstream_central.stream.rehearsal import CONFIGURATION, SUFFIX, redirected

LIVE_COHORTS = 5_000  # kept unpacked per worker; more are packed and unpacked at each row
TIMER_STEP_MS = 10_000  # deadlines are rounded up to this, so that an asset has few timers
FIRST_POLL_S = 5.0  # for planned maintenance, at the start
HEARTBEAT_DELAY_S = 20  # heartbeats move event time on when windows stop; behind by what windows need to arrive

SOURCES = f"""
CREATE TEMPORARY TABLE windows (
  `value` BYTES,
  event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, -- the end of the window
  WATERMARK FOR event_time AS event_time - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'windows', $kafka,
  'properties.group.id' = 'fieldstream-detect', 'scan.startup.mode' = 'earliest-offset', 'format' = 'raw'
);
CREATE TEMPORARY TABLE heartbeats (
  `value` BYTES,
  event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR event_time AS event_time - INTERVAL '{HEARTBEAT_DELAY_S}' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'gateways', $kafka,
  'properties.group.id' = 'fieldstream-detect', 'scan.startup.mode' = 'latest-offset', 'format' = 'raw',
  'scan.watermark.idle-timeout' = '2s'
);
CREATE TEMPORARY TABLE anomalies (`key` STRING, `value` BYTES) WITH (
  'connector' = 'kafka', 'topic' = 'anomalies', $kafka,
  'key.format' = 'raw', 'key.fields' = 'key', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'properties.compression.type' = 'lz4'
)
"""
# Heartbeats only move the watermark: the filter behind the union drops them. Their empty key is computed,
# or the planner would see that nothing is left of them and drop their source.
INPUT = """
SELECT asset_key, `value` FROM (
  SELECT asset_key(`value`) AS asset_key, `value` FROM windows WHERE `value` IS NOT NULL
  UNION ALL
  SELECT SUBSTRING(CAST(event_time AS STRING), 1, 0), `value` FROM heartbeats
) WHERE asset_key <> ''
"""


log = logging.getLogger("fieldstream.detect")


class DetectAnomalies(KeyedProcessFunction):  # type: ignore[misc] # pyflink is not typed
    """Feeds each cohort's windows to its `CohortDetection` and keeps what that has learned in Flink's state."""

    def __init__(
        self, config: DetectionConfig, kafka: Properties, cache: Path, urls: tuple[str, ...], anomaly_schema_id: int
    ) -> None:
        self._config = config
        self._kafka = kafka
        self._cache = cache
        self._urls = urls
        self._header = frame_header(anomaly_schema_id)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called once in the worker, before any row."""
        descriptor = MapStateDescriptor("cohort_parts", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self._parts = runtime_context.get_map_state(descriptor)
        self._live: OrderedDict[str, CohortDetection] = OrderedDict()
        self._registry = SchemaRegistry(self._urls, self._cache)
        self._maintenance = MaintenanceFeed(self._kafka, self._registry)
        self._planned = self._config.maintenance
        self._follow_maintenance(wait_s=FIRST_POLL_S)
        self._writers: dict[int, Any] = {}
        self._errors_seen: dict[str, dict[str, int]] = {}
        metrics = runtime_context.get_metrics_group()
        self._undecodable = metrics.counter("fieldstream_undecodable_windows")
        self._errors = metrics.counter("fieldstream_detector_errors")
        self._relearned = metrics.counter("fieldstream_detection_learns_anew")

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """One window row of one asset."""
        try:
            window = self._window(value[1])
        except (ValueError, EOFError, IndexError, KeyError):
            self._undecodable.inc()
            return
        self._follow_maintenance()
        detection = self._detection(ctx.get_current_key())
        yield from self._emit(detection.on_window(window))
        self._keep(detection, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Event time has reached a deadline that the asset asked for."""
        detection = self._detection(ctx.get_current_key())
        yield from self._emit(detection.on_time(timestamp))
        self._keep(detection, ctx)

    def close(self) -> None:
        """Called once, at the end."""
        self._maintenance.close()

    def _follow_maintenance(self, *, wait_s: float = 0.0) -> None:
        planned = self._maintenance.poll(wait_s=wait_s)
        if planned is not None:
            self._planned = self._config.maintenance + planned
            for detection in self._live.values():
                detection.set_maintenance(self._planned)

    def _detection(self, key: str) -> CohortDetection:
        detection = self._live.get(key)
        if detection is None:
            try:
                detection = CohortDetection(self._config, dict(self._parts.items()))
            except StateVersionError as error:
                log.error("%s: %s", key, error)
                self._relearned.inc()
                self._parts.clear()
                detection = CohortDetection(self._config)
            detection.set_maintenance(self._planned)
            self._live[key] = detection
            if len(self._live) > LIVE_COHORTS:
                self._live.popitem(last=False)
        else:
            self._live.move_to_end(key)
        return detection

    def _keep(self, detection: CohortDetection, ctx: Any) -> None:
        for name, part in detection.dump_changed().items():
            self._parts.put(name, part)
        self._count_errors(ctx.get_current_key(), detection)
        deadline = detection.next_deadline()
        if deadline is not None:
            ctx.timer_service().register_event_time_timer(-(-deadline // TIMER_STEP_MS) * TIMER_STEP_MS)

    def _count_errors(self, key: str, detection: CohortDetection) -> None:
        """Exceptions that detection has caught: to the metric, and the first of each detector to the log."""
        seen = self._errors_seen.setdefault(key, {})
        for detector, count in detection.errors.items():
            if fresh := count - seen.get(detector, 0):
                self._errors.inc(fresh)
                if detector not in seen:
                    log.error("detector %s raised on %s; the others go on", detector, key)
                seen[detector] = count

    def _window(self, value: bytes) -> Window:
        schema_id = schema_id_of(value)
        writer = self._writers.get(schema_id)
        if writer is None:
            writer = fastavro.parse_schema(json.loads(self._registry.schema_text(schema_id)))
            self._writers[schema_id] = writer
        body = BytesIO(value)
        body.seek(FRAME_BYTES)
        return Window.from_record(
            cast(dict[str, Any], fastavro.schemaless_reader(body, writer, parsed_schema(WINDOWS)))
        )

    def _emit(self, steps: list[Anomaly]) -> Iterator[Row]:
        for step in steps:
            body = BytesIO()
            fastavro.schemaless_writer(body, parsed_schema(ANOMALIES), step.to_record())
            yield Row(step.anomaly_id, self._header + body.getvalue())


def environment(settings: Settings, restore_from: str | None, *, rehearsal: bool = False) -> StreamExecutionEnvironment:
    """The cluster as an execution environment. For a remote one PyFlink itself has no call."""
    more = CONFIGURATION | {"pipeline.name": "detect" + SUFFIX} if rehearsal else None
    values = job_configuration(settings, name="detect", restore_from=restore_from, more=more)
    configuration = Configuration()
    for key, value in values.items():
        configuration.set_string(key, value)
    if settings.own_clusters:
        return StreamExecutionEnvironment.get_execution_environment(configuration)
    gateway = get_gateway()
    jars = gateway.new_array(gateway.jvm.String, 1)
    jars[0] = str(settings.flink_function_jar.absolute())
    java_class = gateway.jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(
        java_class.createRemoteEnvironment(
            values["rest.address"], int(values["rest.port"]), configuration._j_configuration, jars
        )
    )


def prepare(settings: Settings, *, restore_from: str | None, rehearsal: bool = False) -> StatementSet:
    """The job, ready to be executed on the cluster, from a checkpoint or savepoint if given."""
    table_env = StreamTableEnvironment.create(environment(settings, restore_from, rehearsal=rehearsal))
    table_env.execute_sql("CREATE TEMPORARY FUNCTION asset_key AS 'fieldstream.AssetKey'")
    for statement in SOURCES.replace("$kafka", as_sql(of_job(settings, "detect"))).split(";\n"):
        table_env.execute_sql(redirected(statement) if rehearsal else statement)
    registry = SchemaRegistry(settings.registry, settings.schema_cache)
    function = DetectAnomalies(
        DetectionConfig.load(settings.detection_file) if settings.detection_file else DetectionConfig(),
        of_worker(settings, "detect"),
        settings.schema_cache.absolute(),
        settings.registry,
        registry.wait_for_id(ANOMALIES),
    )
    steps = (
        table_env.to_data_stream(table_env.sql_query(INPUT))
        .key_by(lambda row: row[0], key_type=Types.STRING())
        .process(function, Types.ROW_NAMED(["key", "value"], [Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())]))
        .uid("detect")
        .name("detect")
    )
    table = table_env.from_data_stream(steps)
    inserts = table_env.create_statement_set()
    inserts.add_insert("anomalies", table)
    return inserts
