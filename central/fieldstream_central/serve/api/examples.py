"""One question of every path, as people would ask it: shown in the reference and the OpenAPI document, run by a test.

The names in it are replaced by the test with those of its own plant.
"""

from typing import Any
from urllib.parse import urlencode

DEVICE, METRIC, ANOMALY = "pump-01", "temperature", "anomaly-1"
_SENSOR = {"device_id": DEVICE, "metric": METRIC}

# Path of the OpenAPI document: what stands in its braces, and the query.
EXAMPLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "/api/v1/readings": ({}, _SENSOR | {"limit": "10", "newest_first": "true"}),
    "/api/v1/windows": ({}, _SENSOR | {"limit": "10"}),
    "/api/v1/series": ({}, _SENSOR | {"points": "100"}),
    "/api/v1/export/{what}": ({"what": "readings"}, _SENSOR | {"format": "csv"}),
    "/api/v1/live/readings": ({}, _SENSOR),
    "/api/v1/trust": ({}, _SENSOR),
    "/api/v1/anomalies": ({}, {"state": "active", "severity": "critical"}),
    "/api/v1/anomalies/{anomaly_id}": ({"anomaly_id": ANOMALY}, {}),
    "/api/v1/anomalies/{anomaly_id}/history": ({"anomaly_id": ANOMALY}, {}),
    "/api/v1/dead-letters": ({}, {"reason": "not-json", "limit": "10"}),
    "/api/v1/assets": ({}, {"site": "north"}),
    "/api/v1/gateways": ({}, {}),
    "/api/v1/completeness": ({}, {}),
    "/api/v1/alarms/feedback": ({}, {}),
    "/api/v1/caller": ({}, {}),
    "/api/v1/detection/settings": ({}, {}),
    "/api/v1/detection/comparisons": ({}, {}),
    "/api/v1/handover": ({}, {"site": "north"}),
    "/api/v1/alarm-health": ({}, {"operators": "2"}),
    "/healthz": ({}, {}),
}


def example_of(path: str) -> str:
    """The example's path and query; empty where a path has none."""
    if path not in EXAMPLES:
        return ""
    places, query = EXAMPLES[path]
    return path.format(**places) + (f"?{urlencode(query)}" if query else "")


def add_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with `x-codeSamples`, which its viewers show beside each path."""
    for path, methods in document["paths"].items():
        if "get" in methods and (example := example_of(path)):
            sample = {"lang": "shell", "source": f"curl 'http://127.0.0.1:8000{example}'"}
            methods["get"]["x-codeSamples"] = [sample]
    return document
