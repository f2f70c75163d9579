"""What the local stack refuses, and how it says so."""

import socket
from pathlib import Path

import pytest
from local import stack
from local.layout import Layout
from local.programs import Program


def test_a_taken_port_is_refused_with_its_owner_and_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        layout = Layout(tmp_path, {"mqtt": taken.getsockname()[1]})
        program = Program(name="mosquitto", command="", ready=lambda: True, ports=("mqtt",))
        with pytest.raises(
            stack.StackError, match=r"for mosquitto is taken by .*\(pid \d+\)[\s\S]*FIELDSTREAM_PORT_MQTT="
        ):
            stack.check_ports(layout, [program])


def test_ports_can_be_shifted_and_set_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDSTREAM_PORT_OFFSET", "1000")
    monkeypatch.setenv("FIELDSTREAM_PORT_API", "8123")
    ports = Layout.from_environment().ports
    assert (ports["mqtt"], ports["api"]) == (2883, 8123)


def test_a_program_that_does_not_become_ready_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    (layout.logs / "kafka.log").write_text("first\nDisk is full\n")
    with pytest.raises(stack.StackError, match=r"kafka was not ready within 0 s[\s\S]*Disk is full"):
        stack.step(layout, "kafka", lambda: False, 0)
