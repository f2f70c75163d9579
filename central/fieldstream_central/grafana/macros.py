"""What Grafana and the ClickHouse plugin do to a panel's SQL before it is sent: variables, then macros.

Used where no Grafana runs: by the tests, the store's bench and the plain plots of `fieldstream grafana render`.
Macros as in the plugin's pkg/macros/macros.go (4.x), variables as Grafana's `sqlstring` format.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Widths that Grafana rounds a panel's interval to, seconds (rangeutil.roundInterval), the coarse ones left out.
_ROUND_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


class MacroError(Exception):
    """A macro or variable that is not known; the message names it."""


@dataclass(frozen=True)
class TimeRange:
    """The dashboard's range, epoch milliseconds, and the number of points that a panel asks for."""

    from_ms: int
    to_ms: int
    points: int = 1000

    @property
    def interval_s(self) -> int:
        """The panel's interval, whole seconds, at least one."""
        wanted = (self.to_ms - self.from_ms) / 1000 / self.points
        return next((width for width in _ROUND_S if width >= wanted), _ROUND_S[-1])


def expand(sql: str, span: TimeRange, variables: Mapping[str, Sequence[str]]) -> str:
    """The SQL as it reaches ClickHouse. Raises MacroError for what is left unexpanded."""
    for name, values in variables.items():
        quoted = ",".join("'" + value.replace("\\", "\\\\").replace("'", "''") + "'" for value in values)
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted)
    seconds, milliseconds = (
        (f"toDateTime({t // 1000})" for t in (span.from_ms, span.to_ms)),
        (f"fromUnixTimestamp64Milli({t})" for t in (span.from_ms, span.to_ms)),
    )
    (first, last), (first_ms, last_ms) = seconds, milliseconds
    width = span.interval_s
    for pattern, text in (
        (r"\$__timeFilter_ms\((\w+)\)", rf"\1 >= {first_ms} AND \1 <= {last_ms}"),
        (r"\$__timeFilter\((\w+)\)", rf"\1 >= {first} AND \1 <= {last}"),
        (
            r"\$__timeInterval_ms\((\w+)\)",
            rf"toStartOfInterval(toDateTime64(\1, 3), INTERVAL {width * 1000} millisecond)",
        ),
        (r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {width} second)"),
        (r"\$__fromTime_ms\b", first_ms),
        (r"\$__toTime_ms\b", last_ms),
        (r"\$__fromTime\b", first),
        (r"\$__toTime\b", last),
        (r"\$__interval_s\b", str(width)),
    ):
        sql = re.sub(pattern, text, sql)
    if left := re.search(r"\$\{?\w+", sql):
        raise MacroError(
            f"{left.group()} is neither a macro nor one of the variables {', '.join(variables) or '(none)'}"
        )
    return sql
