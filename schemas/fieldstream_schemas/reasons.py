"""Reasons of dead letters: short stable codes that people filter by, and what each means.

`docs/bad-input.md` is the same table with examples; a test keeps the two equal.
"""

REASONS = {
    "empty-payload": "The message has no payload.",
    "too-large": "The message is larger than the gateway's limit.",
    "not-json": "The payload is neither a number nor valid JSON.",
    "bad-form": "Valid JSON, but not one of the forms of the contract.",
    "not-a-number": "The value is text, a truth value, null, an object or an array where a number belongs.",
    "not-finite": "The value is NaN or infinite.",
    "bad-timestamp": "`ts` is neither a number of milliseconds nor an ISO 8601 date.",
    "bad-topic": "The MQTT topic fits no configured layout.",
    "conflict": "The same device, metric and ts was already accepted with another value.",
    "bad-payload": "The payload is damaged or breaks its format (SenML, Sparkplug B).",
    "rate-limit": "The device sends faster than its limit.",
    "refused": "Kafka refuses the record for good; the detail carries its error.",
    "undecodable": "A Kafka record whose bytes do not fit the schema that they name.",
    "unknown-schema": "A Kafka record that names a schema id which the registry does not know.",
    "rule": "A decoded reading that breaks a rule of the pipeline; the detail names it.",
    "bad-asset": "A row of the asset registry that is no sensor; the detail says why.",
    "insert-failed": "ClickHouse refused the row; the detail carries its message.",
}
