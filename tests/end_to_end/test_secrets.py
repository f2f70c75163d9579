"""Secrets stand in their files and nowhere else: not in logs, tables, topics, answers or the list of processes."""

import base64
import re
from collections.abc import Iterator
from itertools import chain

import httpx
import psutil

from end_to_end.conftest import Stack
from end_to_end.test_contract import eventually, pids
from end_to_end.test_privacy import naming, places

PLANTED = "planted-secret-3391"
# Where secrets are at home. Programs are told of them by path.
_HOMES = ("file secrets/",)


def secrets_of(stack: Stack) -> set[bytes]:
    """Every secret of the stack in the forms in which it could leak: text, hexadecimal, base64, lines of a PEM file."""
    found: set[bytes] = set()
    for path in (stack.layout.var / "secrets").iterdir():
        if path.suffix in (".pub", ".lock"):
            continue
        text = path.read_bytes().strip()
        words = re.findall(rb"[0-9a-f]{64}|[A-Za-z0-9+/=_-]{40,}", text)
        for word in words:
            found |= {word, base64.b64encode(word)}
            if re.fullmatch(rb"[0-9a-f]{64}", word):
                found |= {bytes.fromhex(word.decode()), base64.b64encode(bytes.fromhex(word.decode()))}
    return found


def told_by(process: psutil.Process, name: str = "") -> tuple[str, bytes]:
    words = [*process.cmdline(), *(f"{key}={value}" for key, value in process.environ().items())]
    return f"process {name}/{process.pid}", "\0".join(words).encode()


def commands(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Command line and environment of every process of the stack."""
    for name, pid in pids(stack).items():
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            yield told_by(process, name)


def leaks(stack: Stack, forms: set[bytes]) -> list[str]:
    found = naming(chain(places(stack), commands(stack)), forms)
    return [place for place in found if not place.startswith(_HOMES)]


def errors(stack: Stack) -> str:
    """What is said when a secret does not fit."""
    secret = f"Bearer {PLANTED}"
    said = [httpx.get(stack.layout.url("api") + "/api/v1/nothing", headers={"Authorization": secret}).text]
    broken = stack.layout.var / "secrets" / "broken.toml"
    broken.write_text(f'clickhouse = "http://user:{PLANTED}@127.0.0.1:9"\n')
    done = stack.run("fieldstream", "store", "status", FIELDSTREAM_CONFIG=str(broken))
    key = stack.layout.var / "secrets" / "broken.key"
    key.write_text(PLANTED)
    settings = stack.layout.settings_file.read_text().replace("secrets/pseudonym.key", "secrets/broken.key")
    broken.write_text(settings)
    done2 = stack.run("fieldstream", "privacy", "report", "nobody", FIELDSTREAM_CONFIG=str(broken))
    broken.unlink()
    key.unlink()
    assert done.returncode and done2.returncode, "both must fail"
    return "\n".join((*said, done.stdout, done.stderr, done2.stdout, done2.stderr))


def test_no_secret_leaves_its_file(stack: Stack) -> None:
    forms = secrets_of(stack)
    assert len(forms) >= 10
    assert leaks(stack, forms) == []


def test_errors_name_the_file_and_not_the_secret(stack: Stack) -> None:
    said = errors(stack)
    assert PLANTED not in said
    assert "broken.key" in said


def test_a_planted_secret_is_found_in_a_log_and_in_the_list_of_processes(stack: Stack) -> None:
    log = stack.layout.var / "log" / "planted.log"
    log.write_text(f"connecting with {PLANTED}")
    child = psutil.Popen(["sleep", "60"], env={"TOKEN": PLANTED})
    try:
        # Right after exec the environment may be empty yet.
        eventually(lambda: naming([told_by(child)], {PLANTED.encode()}) != [])
        found = leaks(stack, {PLANTED.encode()})
    finally:
        child.kill()
        child.wait()
        log.unlink()
    assert found == ["file log/planted.log"]
