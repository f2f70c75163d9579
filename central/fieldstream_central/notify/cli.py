"""`fieldstream notify`: look at messages, send one through the whole chain, write Alertmanager's configuration."""

import json
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import httpx
import typer
import yaml

from fieldstream_central.alarms.log import AlarmLog
from fieldstream_central.certificate import client_context, scheme
from fieldstream_central.notify.config import NotifyError, load_notify
from fieldstream_central.notify.links import link_key
from fieldstream_central.notify.message import Links, Message, Messages
from fieldstream_central.notify.notices import rfc3339
from fieldstream_central.notify.receiver import TEST
from fieldstream_central.notify.render import Rendered, Renderer
from fieldstream_central.notify.routes import alertmanager_config
from fieldstream_central.notify.watchdog import AFTER_S, Watchdog, run, teller
from fieldstream_central.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Messages to people: look at them, try them.")

_PATIENCE_S = 30.0
EXAMPLE = Message(
    status="firing",
    title="pump-1: temperature limit high high",
    severity="critical",
    reason="above HH of 90 °C for 40 s; rises by 2 °C a minute",
    asset="pump-1",
    place="north / hall-1",
    sensor="pump-1 temperature",
    observed="93.4 °C",
    expected="60 to 85 °C",
    since="2026-05-01 12:00:00 UTC",
    lasted="40 s",
    certainty="100%",
    similar=("2026-04-02 03:10:20 UTC, for 12 min: above HH of 90 °C for 10 s",),
    marks="3 useful, 1 false",
    links=Links(
        incident="https://console.example/incident/pump-1/temperature/limit",
        grafana="https://grafana.example/d/fieldstream-sensor?var-sensor=pump-1/temperature",
        plot="https://api.example/link/plot.png?alarm=pump-1/temperature/limit",
        acknowledge="https://api.example/link/acknowledge?alarm=pump-1/temperature/limit",
        runbook="https://fieldstream.example/runbooks/sensor-alarms#limit-high-high",
    ),
    incident="example",
    alarm_id="pump-1/temperature/limit",
)


class Form(StrEnum):
    """What a message can be looked at as."""

    TEXT = "text"
    HTML = "html"
    SLACK = "slack"
    TEAMS = "teams"
    WEBHOOK = "webhook"


@app.command()
def preview(
    *,
    alarm: Annotated[str, typer.Option(help="alarm to show, as in GET /api/v1/alarms; default: an example")] = "",
    form: Annotated[Form, typer.Option(help="which form")] = Form.TEXT,
    resolved: Annotated[bool, typer.Option("--resolved", help="as it is told at its end")] = False,
    templates: Annotated[Path | None, typer.Option(help="folder of templates; default: as in the settings")] = None,
) -> None:
    """Show a message as it would be sent; nothing is sent."""
    settings = load_settings()
    status = "resolved" if resolved else "firing"
    message = _of_alarm(settings, alarm, status) if alarm else EXAMPLE
    shown = Renderer(templates or settings.notify_templates).render(message)
    typer.echo(f"Subject: {shown.subject}\n" if form is Form.TEXT else "", nl=form is Form.TEXT)
    typer.echo(_form(shown, form))


@app.command()
def test(receiver: Annotated[str, typer.Option(help="whom; default: who is told first")] = "") -> None:
    """Send a message through the whole chain, its resolution too, and report each step. Exit status 1 if one fails."""
    settings = load_settings()
    config = load_notify(settings.notify_file)
    name = receiver or config.first
    if name not in config.receivers:
        raise NotifyError(f"there is no receiver {name!r}; there are {', '.join(config.receivers)}")
    typer.echo(f"1. settings: {name} is told by {_channels(settings, name)}")
    with httpx.Client(base_url=settings.alertmanager, timeout=5, verify=client_context(settings)) as alertmanager:
        version = alertmanager.get("/api/v2/status").raise_for_status().json()["versionInfo"]["version"]
        typer.echo(f"2. Alertmanager {version} answers at {settings.alertmanager}")
        incident = f"test-{uuid.uuid4().hex[:12]}"
        labels = {"alertname": TEST, "incident": incident, "severity": "info"}
        if name != config.first:
            labels["receiver"] = name
        began = time.time()
        said = {"summary": "A test of the notification", "description": "Nothing is wrong. Somebody ran the test."}
        alert = {"labels": labels, "annotations": said, "startsAt": rfc3339(round(began * 1000))}
        alertmanager.post("/api/v2/alerts", json=[alert]).raise_for_status()
        typer.echo(f"3. Alertmanager has taken alert {incident}")
        sent = _outcome(settings, incident, bool)
        typer.echo(f"4. after {time.time() - began:.1f} s {sent}")
        ended = rfc3339(time.time_ns() // 1_000_000)
        alertmanager.post("/api/v2/alerts", json=[alert | {"endsAt": ended}]).raise_for_status()
        over = _outcome(settings, incident, lambda text: text != sent and text.endswith("(resolved)"))
        typer.echo(f"5. its resolution: {over}")
    raise typer.Exit(1 if "FAILED" in sent + over else 0)


@app.command("alertmanager-config")
def alertmanager_configuration(
    alerter: Annotated[str, typer.Option(help="address of the alerter, as Alertmanager sees it")] = "",
    certificates: Annotated[
        str, typer.Option(help="folder of Alertmanager's tls.crt, tls.key and ca.crt, as it sees it")
    ] = "",
) -> None:
    """Print Alertmanager's configuration file for the receivers and the escalation of the settings."""
    settings = load_settings()
    where = alerter or f"http://127.0.0.1:{settings.alerter_metrics_port}"
    config = alertmanager_config(load_notify(settings.notify_file), where, certificates)
    typer.echo(yaml.safe_dump(config, sort_keys=False), nl=False)


@app.command()
def watchdog(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: int = 9113,
    after: Annotated[float, typer.Option(help="seconds of silence after which people are told")] = AFTER_S,
) -> None:
    """Tell people when the alarm chain itself is silent. Goes on until stopped; best on another machine."""
    settings = load_settings()
    config = load_notify(settings.notify_file)
    run(Watchdog(teller(config, Renderer(settings.notify_templates)), after), host, port)


def _of_alarm(settings: Settings, alarm_id: str, status: str) -> Message:
    log = AlarmLog(settings)
    log.start()
    try:
        if not log.ready(_PATIENCE_S):
            raise NotifyError(f"Kafka at {settings.kafka} did not give the alarms within {_PATIENCE_S:.0f} s")
        found = log.alarm(alarm_id)
        if found.episode is None:
            raise NotifyError(f"there is no alarm {alarm_id}; GET /api/v1/alarms lists them")
        config = load_notify(settings.notify_file)
        messages = Messages(settings, config, link_key(settings.link_key_file), log.alarm)
        return messages.of(found, status, receiver=config.first)
    finally:
        log.stop()


def _form(shown: Rendered, form: Form) -> str:
    if form in (Form.TEXT, Form.HTML):
        return shown.text if form is Form.TEXT else shown.html
    return json.dumps({Form.SLACK: shown.slack, Form.TEAMS: shown.teams}.get(form, shown.webhook), indent=2)


def _channels(settings: Settings, name: str) -> str:
    receiver = load_notify(settings.notify_file).receivers[name]
    counted = {channel: len(getattr(receiver, channel)) for channel in ("email", "slack", "teams", "webhook")}
    return ", ".join(f"{channel} ({number})" for channel, number in counted.items() if number) or "nothing at all"


def _outcome(settings: Settings, incident: str, told: Callable[[str], bool]) -> str:
    """What the alerter says of the message. Raises NotifyError when nothing has come."""
    url = f"{scheme(settings)}://127.0.0.1:{settings.alerter_metrics_port}/notify/outcome/{incident}"
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        text = str(httpx.get(url, timeout=5, verify=client_context(settings)).raise_for_status().json()["outcome"])
        if told(text) or "FAILED" in text:
            return text
        time.sleep(0.2)
    raise NotifyError(
        f"Alertmanager has passed nothing on to the alerter within {_PATIENCE_S:.0f} s: "
        "does its configuration come from `fieldstream notify alertmanager-config`?"
    )
