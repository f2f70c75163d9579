"""The key that can forget, and what it leaves of the forgotten."""

import secrets
from pathlib import Path

import pytest
from fieldstream_central.privacy.keyring import DEPTH, Keyring, KeyringError
from fieldstream_central.privacy.names import letter, lock, person, pseudonyms
from hypothesis import given, settings
from hypothesis import strategies as st

ADA, BOB = "Ada Lovelace", "Bob"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def fresh() -> Keyring:
    return Keyring.of_secret(secrets.token_bytes(32))


@settings(max_examples=50, deadline=None)
@given(texts, texts)
def test_who_is_forgotten_has_no_pseudonym_and_everybody_else_keeps_theirs(gone: str, other: str) -> None:
    before = fresh()
    after = before.without([person(gone)])
    assert pseudonyms(after, gone) == []
    if other != gone:
        assert pseudonyms(after, other) == pseudonyms(before, other)


def test_no_node_above_a_forgotten_leaf_is_left() -> None:
    keyring = fresh()
    [way] = keyring.without([person(ADA)]).forgotten
    for nodes in keyring.without([person(ADA)]).generations:
        assert not any(way.startswith(kept) for kept in nodes)
        assert len(nodes) == DEPTH


def test_a_file_keeps_what_was_forgotten_and_nothing_of_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "pseudonym.key"
    secret = secrets.token_hex(32)
    path.write_text(secret + "\n")
    path.chmod(0o640)
    whole = Keyring.load(path)
    whole.without([person(ADA), person(BOB)]).save(path)
    again = Keyring.load(path)
    assert again == whole.without([person(ADA), person(BOB)])
    assert pseudonyms(again, "Carol") == pseudonyms(whole, "Carol")
    assert path.stat().st_mode & 0o777 == 0o640
    text = path.read_text()
    assert secret not in text
    assert whole.generations[0][""].hex() not in text
    assert [item.name for item in tmp_path.iterdir()] == ["pseudonym.key"]


def test_a_new_generation_makes_new_pseudonyms_finds_the_old_and_forgives_nobody() -> None:
    before = fresh().without([person(ADA)])
    after = before.rotated(keep=1)
    new, old = pseudonyms(after, BOB)
    assert [old] == pseudonyms(before, BOB)
    assert new != old
    assert pseudonyms(after, ADA) == []
    assert len(pseudonyms(after.rotated(keep=1), BOB)) == 2


def test_a_forgotten_letter_is_locked_to_nothing() -> None:
    keyring = fresh()
    assert len(lock(keyring, "g/1/2", b"sealed")) > len(b"sealed")
    assert lock(keyring.without([letter("g/1/2")]), "g/1/2", b"sealed") == b""


@pytest.mark.parametrize("text", ["", "short", "index 00\nkey :00", "index " + "0" * 64 + "\nkey 012:" + "0" * 64])
def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(KeyringError, match="openssl rand -hex 32"):
        Keyring.load(path)
