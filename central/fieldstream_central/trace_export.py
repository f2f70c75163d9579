"""Traces of readings as OpenTelemetry has them: one trace for each reading, one span for each hop, sent by OTLP.

A reading is asked for where it has passed, as `fieldstream trace` does: nothing is added to readings or to their way.
"""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from fieldstream_central.certificate import files
from fieldstream_central.settings import Settings
from fieldstream_central.trace import Hop, Name, complete

NS = 1_000_000  # in a millisecond


class ExportError(Exception):
    """The collector does not take the trace."""


def export(settings: Settings, url: str, name: Name, hops: Sequence[Hop]) -> int:
    """Sends the hops at which the reading was found, each from the one before it on, the first from its `ts`.

    A reading that is not stored, or not counted in its window, makes a trace with an error. `url`: where the collector
    takes traces by HTTP, e.g. http://127.0.0.1:4318/v1/traces; at https:// it is believed as everything else of the
    centre. Returns how many hops were sent. Raises ExportError.
    """
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "fieldstream"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("fieldstream.trace")
    who = {"fieldstream.device": name.device, "fieldstream.metric": name.metric}
    whole = tracer.start_span(f"reading {name.device}/{name.metric}", start_time=name.ts * NS, attributes=who)
    if not complete(hops):
        lacking = "; ".join(f"{hop.place}: {hop.said}" for hop in hops if not hop.found)
        whole.set_status(Status(StatusCode.ERROR, lacking or "its window is not there"))
    passed = sorted((hop.at, hop.place, hop.said) for hop in hops if hop.found and hop.at is not None)
    before = name.ts
    for at, place, said in passed:
        # A device's clock may be ahead of ours.
        span = tracer.start_span(place, set_span_in_context(whole), start_time=min(before, at) * NS)
        span.set_attribute("fieldstream.said", said)
        span.end(at * NS)
        before = at
    whole.end(max(before, name.ts) * NS)
    own = files(settings)
    exporter = OTLPSpanExporter(url, str(own.ca), str(own.key), str(own.cert)) if own else OTLPSpanExporter(url)
    if exporter.export(kept.get_finished_spans()) is not SpanExportResult.SUCCESS:
        raise ExportError(f"{url} does not take traces; the line above says why")
    return len(passed)
