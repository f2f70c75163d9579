"""Pipeline: how far behind each hop is, what it carries, what it could not accept."""

from grafana_foundation_sdk.builders import dashboard

from fieldstream_central.grafana.frame import fill, frame
from fieldstream_central.grafana.panels import AMBER, GREEN, RED, bars, column, course, metric, number, ranking, rows

# Statistics and no balances: without FINAL, so that what Kafka delivered twice counts twice until it is merged.
DELAY = """
SELECT $__timeInterval(stored_at) AS time, quantiles(0.5, 0.95, 0.99)(stored_after_ds / 10) AS q,
    q[1] AS p50, q[2] AS p95, q[3] AS p99
FROM fieldstream.readings_data WHERE stored_at >= $__fromTime_ms AND stored_at <= $__toTime_ms
    AND ts >= $__fromTime_ms - INTERVAL 10 MINUTE AND ts <= $__toTime_ms
GROUP BY time ORDER BY time"""
DELAY = f"SELECT time, p50, p95, p99 FROM ({DELAY})"
DELAY_NOW = """
SELECT quantile(0.95)(stored_after_ds) / 10 FROM fieldstream.readings_data
WHERE ts >= now64(3) - INTERVAL 2 MINUTE AND stored_at >= now64(3) - INTERVAL 1 MINUTE"""
RATE_NOW = """
SELECT count() / 60 FROM fieldstream.readings_data
WHERE ts >= now64(3) - INTERVAL 2 MINUTE AND stored_at >= now64(3) - INTERVAL 1 MINUTE"""
LATENESS = """
SELECT multiIf(late_s < 10, '1: below 10 s', late_s < 60, '2: below 1 min', late_s < 600, '3: below 10 min',
        late_s < 86400, '4: below 1 day', '5: 1 day and more') AS lateness, count() AS readings
FROM (SELECT (4398046511103 - version) / 1000 AS late_s FROM fieldstream.readings_data WHERE $__timeFilter_ms(ts))
GROUP BY lateness ORDER BY lateness"""
CORRECTED = """
SELECT $__timeInterval(window_start) AS time, origin, count() AS windows FROM fieldstream.windows
WHERE $__timeFilter_ms(window_start) AND (origin = 'repair' OR stored_at > window_end + INTERVAL 1 MINUTE)
GROUP BY time, origin ORDER BY time"""
LETTERS = """
SELECT $__timeInterval(received_at) AS time, reason, count() AS letters FROM fieldstream.dead_letters
WHERE $__timeFilter_ms(received_at) GROUP BY time, reason ORDER BY time"""
LETTERS_NOW = """
SELECT count() FROM fieldstream.dead_letters WHERE received_at >= now64(3) - INTERVAL 1 HOUR"""
NEWEST_LETTERS = """
SELECT toUnixTimestamp64Milli(received_at) AS received, reason, detail, origin, source, gateway_id AS gateway,
    if(sealed_by = '', substring(toValidUTF8(payload), 1, 200), '(encrypted)') AS payload
FROM fieldstream.dead_letters WHERE $__timeFilter_ms(received_at) ORDER BY received_at DESC LIMIT 50"""
PARTS = """
SELECT table, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes, round(bytes / greatest(rows, 1), 2) AS bytes_per_row,
    count() AS parts, max(p.modification_time) AS changed
FROM system.parts AS p WHERE active AND database = 'fieldstream' GROUP BY table ORDER BY bytes DESC"""
MOST_PARTS = """
SELECT max(n) FROM (SELECT table, partition, count() AS n FROM system.parts
    WHERE active AND database = 'fieldstream' GROUP BY table, partition)"""


def board() -> dashboard.Dashboard:
    """The dashboard."""
    page = frame("fieldstream-pipeline", "Pipeline", "Lag, throughput, corrections, dead letters.", span="now-1h")
    letters = rows("Newest dead letters", "What could not be accepted, and why", NEWEST_LETTERS)
    parts = column(
        column(rows("Store", "Tables of the store", PARTS), "bytes", unit="bytes"),
        "parts",
        colors=((None, GREEN), (300, AMBER), (1000, RED)),
    )
    return fill(
        page,
        number("Readings stored", "Per second, last minute", RATE_NOW, unit="reqps", decimals=1),
        number(
            "Delay p95",
            "Received by the gateway until stored, last minute",
            DELAY_NOW,
            unit="s",
            decimals=2,
            colors=((None, GREEN), (5, AMBER), (60, RED)),
        ),
        number("Dead letters", "Last hour", LETTERS_NOW, colors=((None, GREEN), (1, AMBER))),
        number(
            "Most parts in a partition",
            "Many parts: merges do not keep up",
            MOST_PARTS,
            colors=((None, GREEN), (100, AMBER), (300, RED)),
        ),
        course("Delay", "From the gateway's receipt until stored", DELAY, unit="s"),
        metric(
            "Lag of the loader",
            "Age of the oldest record that is not stored, per topic; an alarm from 10 minutes",
            "fieldstream_loader_lag_seconds",
            "{{topic}}",
            unit="s",
        ),
        metric(
            "Lag of the hops", "Age of the oldest record not processed", "fieldstream_lag_seconds", "{{hop}}", unit="s"
        ),
        metric(
            "Throughput of the jobs",
            "Records per second",
            "rate(fieldstream_job_records_total[30s])",
            "{{job}}",
            unit="reqps",
        ),
        metric(
            "Rows stored", "Per second and topic", "rate(fieldstream_loader_rows_total[30s])", "{{topic}}", unit="reqps"
        ),
        metric("Jobs running", "1: runs; resubmitted by itself when not", "fieldstream_job_running", "{{job}}"),
        ranking("Lateness", "Readings by how late the gateway got them", LATENESS),
        bars(
            "Corrected windows",
            "Written again a minute or more after their end: by the stream, or by repair",
            CORRECTED,
        ),
        bars("Dead letters", "By reason", LETTERS),
        parts.span(12),
        letters,
    )
