"""What people read, and that nothing in it can do harm."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fieldstream_central.notify.channels import mail
from fieldstream_central.notify.cli import EXAMPLE
from fieldstream_central.notify.config import NotifyConfig, NotifyError, Smtp, load_notify
from fieldstream_central.notify.ledger import Ledger
from fieldstream_central.notify.links import LASTS_MS, LinkError, checked, signed
from fieldstream_central.notify.render import Renderer
from fieldstream_central.notify.watchdog import Watchdog

KEY, NOW = b"sixteen characters", 1_700_000_000_000


def test_every_form_says_what_where_since_when_and_what_to_do() -> None:
    shown = Renderer(None).render(EXAMPLE)
    for text in (shown.text, shown.html, json.dumps(shown.slack), json.dumps(shown.teams)):
        for wanted in (
            "pump-1",
            "hall-1",
            "93.4",
            "60 to 85",
            "12:00:00 UTC",
            "link/acknowledge",
            "/incident/",
            "100%",
        ):
            assert wanted in text
    assert "\n\n\n" not in shown.text
    assert Renderer(None).render(replace(EXAMPLE, status="resolved")).subject.startswith("[RESOLVED] pump-1")


def test_a_subject_is_one_line_and_html_is_escaped() -> None:
    evil = replace(EXAMPLE, title='x\r\nBcc: all@example.com <img src="x">', reason="<script>[a](b)</script>")
    shown = Renderer(None).render(evil)
    assert "\n" not in shown.subject
    message = mail(("a@example.com",), Smtp(), shown, "<1@x>")
    assert message["Bcc"] is None
    assert not re.search(r"<(script|img src=.x)", shown.html)
    assert "<script" not in json.dumps(shown.slack)
    assert "\\[a\\]\\(b\\)" in shown.teams["attachments"][0]["content"]["body"][1]["text"]


def test_templates_are_replaced_one_by_one_and_faults_are_named(tmp_path: Path) -> None:
    (tmp_path / "subject.txt").write_text("Schicht: {{ message.title }}")
    shown = Renderer(tmp_path).render(EXAMPLE)
    assert shown.subject.startswith("Schicht: pump-1")
    assert "Observed" in shown.text
    (tmp_path / "message.txt").write_text("ok\n{{ message.colour }}")
    with pytest.raises(NotifyError, match=r"message\.txt.*colour"):
        Renderer(tmp_path).render(EXAMPLE)
    (tmp_path / "message.txt").write_text("{{ message.title }}")
    (tmp_path / "slack.json").write_text("{{ message.title }}")
    with pytest.raises(NotifyError, match=r"slack\.json does not give JSON"):
        Renderer(tmp_path).render(EXAMPLE)


def test_a_link_acts_for_a_day_for_what_it_names_and_nothing_else() -> None:
    from urllib.parse import parse_qsl, urlsplit

    link = signed(KEY, "http://api", "acknowledge", {"alarm": "a/b/c", "episode": "e", "by": "on-call"}, NOW)
    query = dict(parse_qsl(urlsplit(link).query))
    assert checked(KEY, "acknowledge", query, NOW)["alarm"] == "a/b/c"
    for changed in ({"alarm": "a/b/d"}, {"until": str(NOW * 2)}, {"signature": "0"}, {"more": "x"}):
        with pytest.raises(LinkError, match="not valid"):
            checked(KEY, "acknowledge", query | changed, NOW)
    for key, purpose in ((KEY, "plot.png"), (b"", "acknowledge"), (b"another key, another signature", "acknowledge")):
        with pytest.raises(LinkError, match="not valid"):
            checked(key, purpose, query, NOW)
    with pytest.raises(LinkError, match="expired"):
        checked(KEY, "acknowledge", query, NOW + LASTS_MS + 1)
    assert signed(b"", "http://api", "acknowledge", {}, NOW) == ""


def test_the_ledger_says_a_thing_once_and_survives_a_restart(tmp_path: Path) -> None:
    def due(status: str, severity: str = "warning", repeat_s: float = 3600.0) -> bool:
        return Ledger(tmp_path / "told").is_due("on-call", "i1", status, severity, repeat_s)

    assert due("firing")
    Ledger(tmp_path / "told").note("on-call", "i1", "firing", "warning")
    assert not due("firing")
    assert due("firing", "critical")
    assert due("firing", repeat_s=0.0)
    Ledger(tmp_path / "told").note("boss/email", "i1", "firing", "page")
    assert Ledger(tmp_path / "told").was_told("boss", "i1")
    assert not Ledger(tmp_path / "told").was_told("bo", "i1")
    assert Ledger(tmp_path / "told").untold_ends(["i1", "i2"]) == {"i1"}
    assert due("resolved")
    Ledger(tmp_path / "told").note("on-call", "i1", "resolved", "warning")
    assert not due("resolved")
    assert due("firing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[receivers.a]\nemial = []", r"receivers\.a\.emial"),
        ('first = "nobody"', "no receiver 'nobody'; there are on-call"),
        ('[[escalation]]\nafter_minutes = 0\nreceiver = "on-call"', r"escalation\.0\.after_minutes"),
        ("x = ", "notify.toml"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "notify.toml"
    file.write_text(text)
    with pytest.raises(NotifyError, match=says):
        load_notify(file)
    assert load_notify(None) == NotifyConfig()


def test_the_watchdog_tells_once_of_silence_and_once_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: dict[str, Any] = {"now": 0.0}
    monkeypatch.setattr("fieldstream_central.notify.watchdog.time.monotonic", lambda: clock["now"])
    told: list[str] = []
    dog = Watchdog(lambda status, _: told.append(status), 120.0)
    for now in (100.0, 121.0, 200.0):
        clock["now"] = now
        dog.look()
    assert told == ["firing"]
    dog.call()
    dog.look()
    dog.look()
    assert told == ["firing", "resolved"]
