"""Drills of the alarm chain's alerts: a part that is stuck, messages that nobody takes, and the chain's own silence."""

import os
import signal

from chaos.harm import until

from runbooks.drill import UNTIL_S, Drill
from runbooks.watched import Watched, ask, told


def test_a_part_that_is_stuck_answers_again_when_it_is_restarted(world: Watched) -> None:
    drill = Drill(world.layout, "FieldstreamPartDown")
    os.kill(world.pid("api"), signal.SIGSTOP)
    drill.raised(job="api")
    assert "api                  running" in drill.look()["make status"]  # and not ready
    world.supervisor.stop("api")
    world.supervisor.start("api")
    drill.over(lambda up: up == 1, job="api")


def test_messages_that_the_mail_server_refuses_arrive_when_it_is_back(world: Watched) -> None:
    drill = Drill(world.layout, "FieldstreamMessagesFailing")
    world.supervisor.stop("mailbox")
    assert "FAILED" in drill.look()["fieldstream notify test"]
    drill.raised(hears=False)
    assert "not sent" in (world.layout.logs / "alerter.log").read_text()
    world.supervisor.start("mailbox")
    until("the waiting message arrives", lambda: told(world.layout, drill.name, 0), UNTIL_S)
    drill.over()
    assert "FAILED" not in drill.do("fieldstream notify test", "It is over when")


def test_the_switch_tells_that_the_chain_is_silent_and_that_it_is_heard_again(world: Watched) -> None:
    drill = Drill(world.layout, "FieldstreamWatchdog")
    drill.raised(hears=False)  # as always

    def switch() -> list[str]:
        entries = ask(world.layout, "mailbox", "/notifications", limit="1000")
        return [one["status"] for one in entries if one["labels"].get("alertname") == "FieldstreamSilent"]

    world.supervisor.stop("alertmanager")
    until("the switch tells of the silence", lambda: switch() == ["firing"], UNTIL_S)
    assert "alertmanager" in drill.look()["fieldstream doctor"]
    world.supervisor.start("alertmanager")
    until("the switch hears the chain again", lambda: switch() == ["resolved", "firing"], UNTIL_S)
