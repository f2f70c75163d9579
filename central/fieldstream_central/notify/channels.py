"""Sends a rendered message by the channels of a receiver. A failure names the channel; the sender tries again."""

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate
from functools import partial
from typing import Any

import httpx

from fieldstream_central.notify.config import Receiver, Smtp
from fieldstream_central.notify.render import Rendered

TIMEOUT_S = 10.0
# One for all: making one costs more than a message. Chats are believed as this machine believes, although
# SSL_CERT_FILE may name the centre's authority.
http = httpx.Client(timeout=TIMEOUT_S, verify=ssl.create_default_context())


class ChannelError(Exception):
    """A channel did not take the message; says which and why, without its secret address."""


def channel_names(receiver: Receiver) -> list[str]:
    """The channels of a receiver by names that are not their secret addresses."""
    urls = {"slack": receiver.slack, "teams": receiver.teams, "webhook": receiver.webhook}
    names = [f"{channel} {number}" for channel, given in urls.items() for number in range(1, len(given) + 1)]
    return [*names, "email"] if receiver.email else names


def send(
    receiver: Receiver,
    smtp: Smtp,
    rendered: Rendered,
    message_id: str,
    payload: dict[str, Any],
    *,
    due: Callable[[str], bool] = lambda _: True,
    sent: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Sends by every channel that is `due`; what each answered. Raises ChannelError after having tried all.

    `message_id`: the same for the same message, so that a mail system can drop a repetition. `payload`: what
    Alertmanager sent, passed on to plain webhooks with our message beside it. `sent` is told of each that took it.
    """
    answers, failures = [], []
    for name, go in _channels(receiver, smtp, rendered, message_id, payload).items():
        if not due(name):
            continue
        try:
            answers.append(f"{name}: {go()}")
            sent(name)
        except (OSError, smtplib.SMTPException, httpx.HTTPError) as error:
            failures.append(f"{name}: {_without_address(error)}")
    if failures:
        raise ChannelError("; ".join(failures))
    return answers


def _channels(
    receiver: Receiver, smtp: Smtp, rendered: Rendered, message_id: str, payload: dict[str, Any]
) -> dict[str, Callable[[], str]]:
    """How each channel is sent to, by its name."""
    ways = [partial(_post, url, rendered.slack) for url in receiver.slack]
    ways += [partial(_post, url, rendered.teams) for url in receiver.teams]
    ways += [partial(_post, url, payload | {"message": rendered.webhook}) for url in receiver.webhook]
    ways += [partial(_mail, receiver.email, smtp, rendered, message_id)] if receiver.email else []
    return dict(zip(channel_names(receiver), ways, strict=True))


def _post(url: str, body: dict[str, Any]) -> str:
    return f"HTTP {http.post(url, json=body).raise_for_status().status_code}"


def mail(to: tuple[str, ...], smtp: Smtp, rendered: Rendered, message_id: str) -> EmailMessage:
    """The e-mail, as text and HTML. A line break in a header is an error of the library, not a header more."""
    message = EmailMessage()
    message["Subject"] = rendered.subject
    message["From"] = smtp.sender
    message["To"] = ", ".join(to)
    message["Date"] = formatdate()
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    return message


def _mail(to: tuple[str, ...], smtp: Smtp, rendered: Rendered, message_id: str) -> str:
    with smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_S) as server:
        if smtp.starttls:
            server.starttls()
        if smtp.user:
            server.login(smtp.user, smtp.password_file.read_text().strip() if smtp.password_file else "")
        refused = server.send_message(mail(to, smtp, rendered, message_id))
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)
    return f"{smtp.host}:{smtp.port} took it for {', '.join(to)}"


def _without_address(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__ if isinstance(error, httpx.HTTPError) else str(error)
