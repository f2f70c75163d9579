"""docs/api.md from the OpenAPI document, so that it cannot fall behind."""

from typing import Any

from fieldstream_central.serve.api.app import create_app
from fieldstream_central.settings import Settings


def reference() -> str:
    """The page as Markdown."""
    document = create_app(Settings()).openapi()
    lines = [
        "# The query API",
        "",
        "<!-- Written by `fieldstream api --reference`; a test keeps it equal. -->",
        document["info"]["description"].strip(),
        "",
        "`fieldstream api` serves it on port 8000; the OpenAPI document is at `/api/v1/openapi.json`.",
        "`fieldstream token NAME --role viewer` makes a token; without any the API is open, which is meant for one",
        "machine. Give it as `Authorization: Bearer TOKEN`.",
        "",
        "With `--site SITE`, which may be repeated, it is for these sites alone: sensors, alarms and planned work of",
        "others are in no list and no count, and to name one is answered with 403. So is what is about the whole",
        "plant: gateways, completeness, dead letters, detection.",
        "",
        "An error names the field at fault and how to go on:",
        "",
        "```",
        '{"title": "Range backwards", "status": 422, "field": "from", "detail": "from (2026-05-02T00:00:00+00:00) must '
        'lie before to (2026-05-01T00:00:00+00:00)."}',
        "```",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", f"{operation['summary']}.", ""]
            if operation.get("description"):
                lines += [operation["description"], ""]
            for sample in operation.get("x-codeSamples", []):
                lines += ["```", sample["source"], "```", ""]
            parameters = operation.get("parameters", []) + _body(document, operation)
            if parameters:
                lines += ["| parameter | | meaning |", "|---|---|---|"]
                lines += [_parameter(parameter) for parameter in parameters]
    return "\n".join(lines) + "\n"


def _body(document: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of the JSON body, as if they were parameters."""
    if "requestBody" not in operation:
        return []
    model = _resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
    return [
        {"name": name, "schema": _resolved(document, field), "required": name in model.get("required", [])}
        | {"description": field.get("description", "in the JSON body")}
        for name, field in model["properties"].items()
    ]


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    kinds = [schema, *schema.get("anyOf", [])]
    choices = next((kind["enum"] for kind in kinds if "enum" in kind), None)
    kind = " \\| ".join(choices) if choices else next((one["type"] for one in kinds if "type" in one), "")
    bounds = [f"{word} {schema[key]}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    default = schema.get("default")
    notes = [kind, *bounds, "required" if parameter.get("required") else f"default {default}" if default else ""]
    meaning = parameter.get("description", "").replace("\n", " ")
    return f"| `{parameter['name']}` | {', '.join(note for note in notes if note)} | {meaning} |"
