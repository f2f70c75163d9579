"""Tokens, roles, limits, the verdict: without a store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fieldstream_central.serve.api.access import Callers, Guard, add_token, hash_token, read_tokens
from fieldstream_central.serve.api.errors import ApiError
from fieldstream_central.serve.api.evidence import GatewayTrust, Stretch
from fieldstream_central.serve.api.trust import judge


def test_a_token_is_stored_only_as_its_hash_and_finds_its_caller(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    token = add_token(path, "grafana", "viewer")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    found = Callers(path).find(token)
    assert found is not None
    assert (found.name, found.role, found.token_sha256) == ("grafana", "viewer", hash_token(token))
    assert Callers(path).find(token + "x") is None
    assert Callers(path).find("") is None


def test_a_token_may_be_limited_to_sites(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    token = add_token(path, "shift-north", "operator", sites=["north", 'the "old" hall'])
    found = Callers(path).find(token)
    assert found is not None
    assert found.sites == ("north", 'the "old" hall')


@pytest.mark.parametrize("sites", ["[]", '"north"', "[1]"])
def test_a_limit_that_names_no_sites_is_refused_and_not_taken_for_none(tmp_path: Path, sites: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(f'[shift]\nrole = "viewer"\nsha256 = "x"\nsites = {sites}\n')
    with pytest.raises(ValueError, match="sites must be a list of names"):
        read_tokens(path)


def test_without_a_file_everybody_may_ask(tmp_path: Path) -> None:
    found = Callers(tmp_path / "none.toml").find("")
    assert found is not None
    assert found.role == "admin"


@pytest.mark.parametrize(
    ("name", "role"), [("a b", "viewer"), ("x]\n[y", "viewer"), ("ok", "root"), ("grafana", "viewer")]
)
def test_names_that_break_the_file_unknown_roles_and_doubles_are_refused(tmp_path: Path, name: str, role: str) -> None:
    path = tmp_path / "tokens.toml"
    add_token(path, "grafana", "viewer")
    with pytest.raises(ValueError):
        add_token(path, name, role)
    assert [caller.name for caller in read_tokens(path)] == ["grafana"]


def test_a_caller_who_asks_too_often_is_slowed_down_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    tokens = [add_token(path, name, "viewer") for name in ("script", "grafana")]
    guard = Guard(Callers(path))

    async def ask(token: str, times: int) -> str:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        request = Request({"type": "http", "headers": headers, "client": ("127.0.0.1", 1)})
        return [await guard(request) for _ in range(times)][-1].name

    with pytest.raises(ApiError, match="More than 500 a second") as refused:
        asyncio.run(ask(tokens[0], 100_000))
    assert refused.value.status == 429
    assert asyncio.run(ask(tokens[1], 1)) == "grafana"


FIGURES = {"readings": 3600, "late": 0, "doubtful": 0, "clock_suspect": 0}
MORE = {"repaired": 0, "stuck": 0}
GAP = {"start": "2026-05-01 00:00:00.000", "end": "2026-05-01 00:01:00.000", "seconds": 60.0}


@pytest.mark.parametrize(
    ("figures", "more", "gaps", "verdict"),
    [
        ({}, {}, [], "good"),
        ({"readings": 3500}, {}, [], "fair"),
        ({"readings": 3000}, {}, [], "poor"),
        ({}, {}, [GAP], "fair"),
        ({"doubtful": 10}, {}, [], "fair"),
        ({"doubtful": 1000}, {}, [], "poor"),
        ({}, {"stuck": 1}, [], "fair"),
        ({"readings": 0}, {}, [], "no data"),
    ],
)
def test_the_verdict(figures: dict[str, Any], more: dict[str, Any], gaps: list[dict[str, Any]], verdict: str) -> None:
    stretches = [Stretch(**gap) for gap in gaps]
    found, reasons, _, _ = judge(FIGURES | figures, MORE | more, 1000, gaps=stretches, gateways=[], span_s=3600.0)
    assert found == verdict
    assert bool(reasons) == (verdict != "good")


def test_without_a_known_period_completeness_is_not_claimed() -> None:
    verdict, _, expected, percent = judge(FIGURES, MORE, None, gaps=[], gateways=[], span_s=3600.0)
    assert (expected, percent, verdict) == (None, None, "good")


def test_a_sensor_whose_gateway_lost_readings_is_not_wholly_trusted() -> None:
    counts = {"accepted": 100, "stored": 80, "dead_lettered": 0, "missing": 20, "duplicates_dropped": 0}
    ranges: dict[str, Any] = {"missing_ranges": [(7, 26)], "known_gaps": []}
    gateway = GatewayTrust.model_validate({"gateway_id": "gw-5", "epoch": 1} | counts | ranges)
    verdict, reasons, _, _ = judge(FIGURES, MORE, 1000, gaps=[], gateways=[gateway], span_s=3600.0)
    assert verdict == "fair"
    assert reasons == ["20 readings of all that gw-5 accepted have not arrived"]
