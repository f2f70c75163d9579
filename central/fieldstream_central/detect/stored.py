"""Windows of a time range from ClickHouse, in the order in which event time would have brought them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from fieldstream_central.detect.model import Window
from fieldstream_central.store.clickhouse import ClickHouse

SLICE_MS = 3_600_000
_TIMES = ("window_start", "window_end", "first_ts", "last_ts")
_COLUMNS = ", ".join(
    f"toUnixTimestamp64Milli({field.name}) AS {field.name}_ms" if field.name in _TIMES else field.name
    for field in fields(Window)
)
_QUERY = f"""
SELECT {_COLUMNS} FROM fieldstream.windows
WHERE window_start >= fromUnixTimestamp64Milli({{start:Int64}})
  AND window_start < fromUnixTimestamp64Milli({{end:Int64}}) AND {{asset:String}} IN ('', asset_id)
ORDER BY window_end, device_id, metric
"""  # noqa: S608 - made of field names only


@dataclass(frozen=True)
class StoredRange:
    """Windows that begin in [start, end), of all assets or of one. `url` is ClickHouse's HTTP interface."""

    url: str
    start: datetime
    end: datetime
    asset_id: str = ""

    def windows(self) -> Iterator[Window]:
        """The windows at their latest revision, an hour at a time. Raises ClickHouseError."""
        with ClickHouse(self.url) as store:
            at_ms, end_ms = (round(moment.timestamp() * 1000) for moment in (self.start, self.end))
            while at_ms < end_ms:
                until = min(at_ms + SLICE_MS, end_ms)
                for row in store.rows(_QUERY, {"start": at_ms, "end": until, "asset": self.asset_id}, _SETTINGS):
                    yield Window.from_record(row | {name: int(row[f"{name}_ms"]) for name in _TIMES})
                at_ms = until


_SETTINGS = {"output_format_json_quote_64bit_integers": 0}
