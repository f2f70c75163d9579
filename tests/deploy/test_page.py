"""docs/deploy.md, from nothing to a cluster: its commands in order, Helm for real, kubectl by one that only notes."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from declared import guard, lint, write
from fieldstream_central import cli
from fieldstream_central.notify.config import load_notify
from local.layout import ROOT
from typer.testing import CliRunner

PAGE = (ROOT / "docs/deploy.md").read_text()
CLUSTER = PAGE[PAGE.index("## Kubernetes\n") : PAGE.index("## Checkpoints on S3")]
# A Secret's value is asked for as one key or as a whole; nothing else is answered.
KUBECTL = """#!/bin/bash
printf '%s\\0' "$@" >> calls; printf '\\n' >> calls
case " $* " in
  *" get secret "*) printf eA== ;;
  *" apply -f - "*) cat > /dev/null ;;
esac
for word; do
  [[ $word == --from-file=* ]] && { cat "${word##*=}" > /dev/null || exit 1; }
done
exit 0
"""
HELM = """#!/bin/bash
printf '%s\\0' helm "$@" >> calls; printf '\\n' >> calls
shift; cd "$ROOT" && "$REAL/helm" template "$@" --kube-version "$KUBERNETES" > "$OLDPWD/manifests.yaml"
"""


def blocks(text: str) -> list[str]:
    """What stands between fences, each without the list's indentation."""
    return [dedent(body) for body in re.findall(r"```\n(.*?) *```", text, re.DOTALL)]


@dataclass
class Given:
    """What the page's commands came to."""

    calls: list[list[str]] = field(default_factory=list)
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def secrets(self) -> set[tuple[str, str]]:
        """Name and key of each Secret that was made by hand."""
        found = set()
        for call in self.calls:
            if "generic" in call:
                name = call[call.index("generic") + 1]
                keys = re.findall(r"--from-(?:file|literal)=([^=\s]+)", " ".join(call))
                found |= {(name, key) for key in keys}
        return found

    def lacking(self) -> set[tuple[str, str]]:
        """What pods are given, and nobody makes: neither by hand nor by a certificate."""
        certificates = {m["spec"]["secretName"] for m in self.manifests if m["kind"] == "Certificate"}
        asked = {one for m in self.manifests for _, part in guard.components(m) for one in guard.references(part)}
        return {one for one in asked if one[0] not in certificates} - self.secrets()


def follow(folder: Path, page: str) -> Given:
    """Gives the page's commands, in order, in one shell that ends at the first that fails."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in ("kubectl", KUBECTL), ("helm", HELM):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/alarms.md").read_text(), re.DOTALL)
    (folder / "notify.toml").write_text(example)
    load_notify(folder / "notify.toml")
    (folder / "smtp-password").write_text("secret")
    script = "\n".join(block for block in blocks(page) if re.search(r"^(kubectl|helm|openssl) ", block, re.MULTILINE))
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "ROOT": str(ROOT),
                   "REAL": str(lint.TOOLS), "KUBERNETES": lint.KUBERNETES}  # fmt: skip
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    calls = [line.split("\0")[:-1] for line in (folder / "calls").read_text().split("\n")[:-1]]
    return Given(calls, [m for m in yaml.load_all((folder / "manifests.yaml").read_text(), yaml.CSafeLoader) if m])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    lint.install()
    return follow(tmp_path_factory.mktemp("page"), CLUSTER)


def test_the_page_makes_every_secret_that_a_pod_is_given(given: Given) -> None:
    assert given.lacking() == set()


@pytest.mark.parametrize(
    ("before", "after", "lacking"),
    [
        ("signing.key link.key", "signing.key", ("fieldstream", "link.key")),
        (",tracer,grafana", ",grafana", ("fieldstream", "clickhouse-tracer")),
        (" --from-file=notify.toml", "", ("fieldstream-notify", "notify.toml")),
        ("=fieldstream-pseudonyms", "=another", ("another", "pseudonym.key")),
    ],
)
def test_a_secret_that_the_page_forgets_is_found(
    tmp_path: Path, before: str, after: str, lacking: tuple[str, str]
) -> None:
    assert before in CLUSTER
    assert lacking in follow(tmp_path, CLUSTER.replace(before, after)).lacking()


def values() -> dict[str, Any]:
    """The chart's own values."""
    found: dict[str, Any] = yaml.safe_load((write.CHART / "values.yaml").read_text())
    return found


@pytest.mark.parametrize("name", sorted({name for text in re.findall(r"--set (\S+)", CLUSTER) for name in
                                         re.findall(r"(?:^|,)([\w.]+)=", text.strip("`"))}))  # fmt: skip
def test_a_value_that_the_page_sets_is_one_of_the_chart(name: str) -> None:
    found = values()
    for part in name.split("."):
        assert part in found, name
        found = found[part]


def named(given: Given) -> Iterator[tuple[str, str]]:
    """Kind and name of what the page asks kubectl for."""
    for call in given.calls:
        for word in call:
            if word.startswith("deployment/"):
                yield "Deployment", word.partition("/")[2]
        if call[2:4] == ["get", "secret"]:
            yield "Secret", call[4]


def test_what_the_page_asks_for_is_there(given: Given) -> None:
    there = {(m["kind"], m["metadata"]["name"]) for m in given.manifests}
    there |= {("Secret", m["spec"]["secretName"]) for m in given.manifests if m["kind"] == "Certificate"}
    there |= {("Secret", "fieldstream-cluster-ca-cert"), ("Secret", "hall-1")}  # made by Strimzi
    asked = set(named(given))
    assert {name for kind, name in asked if kind == "Deployment"} == {"fieldstream-alerter", "fieldstream-tools"}
    assert asked - there == set()


def commands() -> list[str]:
    """Every command of fieldstream that the page gives, in blocks and in its text."""
    text = PAGE.replace("\\\n", " ")
    found = re.findall(r"`(fieldstream [^`\n]+)`", text)
    found += re.findall(r"(?:-- |^)(fieldstream [^\n>#]+)", "\n".join(blocks(text)), re.MULTILINE)
    return sorted({one.strip() for one in found})


@pytest.mark.parametrize("text", commands())
def test_a_command_of_the_page_is_one_of_fieldstream(text: str) -> None:
    done = CliRunner().invoke(cli.app, [*shlex.split(text)[1:], "--help"])
    assert done.exit_code == 0, done.output


def test_whoever_explores_gets_in_by_the_pages_example() -> None:
    [example] = [yaml.safe_load(block) for block in blocks(PAGE) if block.startswith("clickhouseClients:")]
    given = [
        f"clickhouseClients[{number}].{selector}.matchLabels.{label.replace('.', chr(92) + '.')}={value}"
        for number, client in enumerate(example["clickhouseClients"])
        for selector, chosen in client.items()
        for label, value in chosen["matchLabels"].items()
    ]
    manifests = lint.rendered("small", *given)
    [policy] = [
        m for m in manifests if m["metadata"]["name"] == "fieldstream-clickhouse" and m["kind"] == "NetworkPolicy"
    ]
    assert example["clickhouseClients"] in [rule["from"] for rule in policy["spec"]["ingress"]]
    assert guard.faults(manifests) == []
