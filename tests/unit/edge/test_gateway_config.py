"""Configuration: every mistake is named with its line and a remedy."""

import pytest
from fieldstream_edge.config import ConfigError, parse
from fieldstream_edge.settings import public

_GOOD = 'gateway_id = "hall-3"\nstate_dir = "/var/lib/fieldstream"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("gatway_id = 1\n", 3, "Did you mean `gateway_id`"),
        ("[spool]\n\nmax_byte = 5\n", 5, "Did you mean `max_bytes`"),
        ("[mqtt]\nurl = 'mqtt://x'\n[mqtt.tls]\nca_fil = 'x'\n", 6, "Did you mean `ca_file`"),
        ("[spool]\nwhen_full = 'drop'\n", 4, "refuse-new, drop-oldest"),
        ("[http]\nport = '9108'\n", 4, "a whole number"),
        ("[http]\nport = 70000\n", 4, "from 0 to 65535"),
        ("[kafka]\nlinger_ms = true\n", 4, "a number"),
        ("[mqtt]\nsubscriptions = 'sensors/#'\n", 4, "a list of texts"),
        ("[mqtt]\nprotocol = '3.1.1'\nbroker_time_property = 'x'\n", 5, "protocol"),
        ("[mqtt]\nurl = 'http://x'\n", 4, "mqtt://HOST:PORT"),
        ("[spool]\nmax_bytes = 1048576\n", 4, "four segments"),
        ("[mqtt.tls]\ncert_file = 'x'\n", 4, "both or neither"),
        ("spool = 3\n", 3, "a table [spool]"),
        ("heartbeat_s = \n", 3, "not valid TOML"),
    ],
)
def test_mistake_is_named_with_line_and_remedy(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(_GOOD + text, "g.toml")
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"g.toml:{line}: ")
    assert words in str(problem)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("heartbeats = 1\n[kafka]\nboostrap = 'x'\n")
    assert len(caught.value.problems) == 4


def test_librdkafka_properties_pass_through() -> None:
    settings = parse(_GOOD + '[kafka.properties]\n"ssl.ca.location" = "ca.crt"\n"socket.keepalive.enable" = true\n')
    assert settings.kafka.properties == {"ssl.ca.location": "ca.crt", "socket.keepalive.enable": "true"}


def test_several_brokers() -> None:
    settings = parse(_GOOD + '[[mqtt]]\nurl = "mqtt://a:1"\n[[mqtt]]\nurl = "mqtt://b:1"\n')
    assert [broker.url for broker in settings.mqtt] == ["mqtt://a:1", "mqtt://b:1"]


def test_digest_ignores_secrets_and_follows_settings() -> None:
    plain = parse(_GOOD)
    assert parse(_GOOD + "heartbeat_s = 10.0\n").digest() == plain.digest()
    assert parse(_GOOD + "heartbeat_s = 11\n").digest() != plain.digest()
    one, other = (parse(_GOOD + f'[mqtt]\npassword = "{word}"\n') for word in ("a", "b"))
    assert one.digest() == other.digest()
    assert "***" in str(public(one))
