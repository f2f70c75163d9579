"""Who is told how: receivers, escalation by schedule, the mail server. One TOML file, checked as a whole.

Alertmanager decides when a receiver is told (notify/routes.py writes its routes from the same file); what the
message looks like and by which channels it goes is decided here.
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fieldstream_central.alarms.life import SEVERITIES


class NotifyError(Exception):
    """The file cannot be used; the message names the key and what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Smtp(_Strict):
    """The mail server. `password_file` holds nothing but the password."""

    host: str = "127.0.0.1"
    port: int = 25
    sender: str = "fieldstream@localhost"
    starttls: bool = False
    user: str = ""
    password_file: Path | None = None


class Receiver(_Strict):
    """The channels of one receiver; each gets every message of it. Addresses of chats are secrets."""

    email: tuple[str, ...] = ()
    slack: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    webhook: tuple[str, ...] = ()


class Escalation(_Strict):
    """Also tells `receiver` of what nobody acknowledged for so long."""

    after_minutes: float = Field(gt=0, le=1440)
    receiver: str
    severities: tuple[str, ...] = SEVERITIES


class NotifyConfig(_Strict):
    """`first`: who is told first. `repeat_minutes`: how often what nobody acknowledged is told again.

    `heartbeat_url` is called while the whole chain works, at most a minute apart; empty: nothing is called.
    """

    first: str = "on-call"
    repeat_minutes: float = Field(default=240, gt=0)
    smtp: Smtp = Smtp()
    receivers: dict[str, Receiver] = {"on-call": Receiver(email=("on-call@localhost",))}
    escalation: tuple[Escalation, ...] = ()
    heartbeat_url: str = ""
    runbooks: str = "https://fieldstream.example/runbooks"

    @model_validator(mode="after")
    def _receivers_are_there(self) -> "NotifyConfig":
        for name in (self.first, *(step.receiver for step in self.escalation)):
            if name not in self.receivers:
                raise ValueError(f"there is no receiver {name!r}; there are {', '.join(self.receivers)}")
        return self


def load_notify(path: Path | None) -> NotifyConfig:
    """The file's content; None: the defaults. Raises NotifyError."""
    if path is None:
        return NotifyConfig()
    try:
        return NotifyConfig.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise NotifyError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotifyError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from error
