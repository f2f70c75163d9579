"""`make lint-deploy`: the chart rendered for every tier, its manifests and the compose files checked strictly.

    PYTHONPATH=deploy .venv/bin/python -m declared.lint [--crds DIR]

Kubernetes' own kinds are checked against their published schemas, an unknown field being an error; the operators' kinds
against their CustomResourceDefinitions in DIR, which each operator's project publishes: one that is missing there is an
error. Without DIR those are named as not checked. Pod security, probes, limits, budgets and network policies are
kube-score's to judge.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from local.layout import ROOT

from declared import guard, write
from declared.tiers import TIERS

TOOLS = ROOT / "var" / "tools"
MODULES = {
    "helm": "helm.sh/helm/v3/cmd/helm@v3.22.0",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
}
KUBERNETES = "1.31"
GIVEN = ("existingSecret=fieldstream", "pseudonymSecret=fieldstream-pseudonyms",
         "registryForGateways.host=registry.plant", "gateways={hall-1}", "flink.storage=s3://bucket/fieldstream",
         "flink.s3Secret=fieldstream-s3", "prometheusOperator=true", "assets.connectImage=plant/connect:1",
         "assets.host=postgres.plant", "assets.secret=fieldstream-assets", "notify.secret=fieldstream-notify",
         "tracing.otlp=http://collector.monitoring:4318/v1/traces",
         "clickhouseClients[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=monitoring",
         "clickhouseClients[0].podSelector.matchLabels.app\\.kubernetes\\.io/name=grafana")  # fmt: skip
# Operators' kinds with a pod template: where it stands. It is checked as a pod of its own.
POD_TEMPLATES: dict[str, Callable[[Any], list[Any]]] = {
    "FlinkDeployment": lambda spec: [spec["podTemplate"]],
    "ClickHouseInstallation": lambda spec: spec["templates"]["podTemplates"],
    "ClickHouseKeeperInstallation": lambda spec: spec["templates"]["podTemplates"],
    "KafkaConnect": lambda spec: [connect_pod(**spec["template"])],
}
# What the operators add to those pods, so that the templates need not have it.
FROM_OPERATOR = "container-resources,container-ephemeral-storage-request-and-limit"
# An image is named by a version that does not change: a restart must not need the image registry.
NOT_ASKED = "container-image-pull-policy"
Manifest = dict[str, Any]


class LintError(Exception):
    """Something in deploy/ is not as it must be; the message has a line for each fault."""


def install() -> None:
    """Builds the tools with Go, once. Raises LintError."""
    for program, module in MODULES.items():
        if not (TOOLS / program).exists():
            if not shutil.which("go"):
                raise LintError(f"{program} is missing and is built with Go: install Go 1.24 or later.")
            run("go", "install", module, environment={"GOBIN": str(TOOLS)})


def run(*command: str | Path, text: str = "", environment: dict[str, str] | None = None) -> str:
    """What a command prints. Raises LintError with all that it said."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env=os.environ | (environment or {}), check=False
    )
    if done.returncode:
        raise LintError(f"{Path(command[0]).name}: {done.stdout}{done.stderr}")
    return done.stdout


def rendered(tier: str, *given: str) -> list[Manifest]:
    """The chart's manifests for a tier, with more values than every chart is given, or others. Raises LintError."""
    values: list[str | Path] = ["--values", write.CHART / "tiers" / f"{tier}.yaml", "--set", ",".join((*GIVEN, *given))]
    values += ["--kube-version", KUBERNETES]
    run(TOOLS / "helm", "lint", "--strict", "--quiet", write.CHART, *values)
    text = run(TOOLS / "helm", "template", "fieldstream", write.CHART, "--namespace", "fieldstream", *values)
    return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def check(manifests: list[Manifest], crds: dict[str, Manifest]) -> set[str]:
    """Schemas and policies. Returns the kinds that nothing was there to check against. Raises LintError."""
    faults, unchecked = [], set()
    pods = [pod for manifest in manifests for pod in pods_of(manifest)]
    for manifest in manifests + pods:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            schema = crds.get(f"{manifest['apiVersion']}/{manifest['kind']}")
            if schema is None:
                unchecked.add(manifest["kind"])
                continue
            faults += [
                f"{name}: {e.json_path}: {e.message}"
                for e in jsonschema.Draft202012Validator(schema).iter_errors(manifest)
            ]
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
    if faults:
        raise LintError("\n".join(faults))
    # Kinds that kube-score does not know it passes over.
    run(
        *(
            TOOLS / "kube-score",
            "score",
            "--output-format",
            "ci",
            "--kubernetes-version",
            f"v{KUBERNETES}",
            "--ignore-test",
            NOT_ASKED,
            "-",
        ),
        text=yaml.safe_dump_all(manifests + pods),
    )
    return unchecked


def pods_of(manifest: Manifest) -> list[Manifest]:
    """The pods that an operator makes of a manifest, as far as the manifest says."""
    made = []
    for number, template in enumerate(POD_TEMPLATES.get(manifest["kind"], lambda _: [])(manifest.get("spec"))):
        spec = template["spec"]
        image = manifest["spec"].get("image")
        containers = [({"image": image} if image else {}) | container for container in spec["containers"]]
        metadata = {
            "name": f"{manifest['kind'].lower()}-{manifest['metadata']['name']}-{number}",
            "labels": template["metadata"]["labels"],
            "annotations": {"kube-score/ignore": FROM_OPERATOR} if image else {},
        }
        made.append(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | {"containers": containers}}
        )
    return made


def connect_pod(pod: Manifest, connectContainer: Manifest) -> Manifest:  # noqa: N803 - Strimzi's names
    """A pod of Kafka Connect, whose container Strimzi names apart from it."""
    spec = {key: value for key, value in pod.items() if key != "metadata"}
    return {"metadata": pod["metadata"], "spec": spec | {"containers": [{"name": "connect"} | connectContainer]}}


def definitions(folder: Path) -> dict[str, Manifest]:
    """apiVersion/Kind -> schema, from the CustomResourceDefinitions in a folder's files."""
    found = {}
    for file in sorted(folder.glob("*.y*ml")):
        for crd in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if crd and crd.get("kind") == "CustomResourceDefinition":
                spec = crd["spec"]
                for version in spec["versions"]:
                    key = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
                    found[key] = strict(version["schema"]["openAPIV3Schema"], top=True)
    return found


def strict(schema: Any, *, top: bool = False) -> Any:
    """A CRD's schema in which unknown fields are errors, as they are to an API server."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Alternatives only choose among fields that are declared beside them.
    made = {key: value if key in ("oneOf", "anyOf") else strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        if top:  # the API server knows these, whatever the CRD says of them
            made["properties"] = {"apiVersion": {}, "kind": {}} | made["properties"] | {"metadata": {}}
        made.setdefault("additionalProperties", False)
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return made


def main() -> int:
    """Checks everything; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crds", type=Path, help="folder of the operators' CustomResourceDefinitions")
    crds = parser.parse_args().crds
    known = definitions(crds) if crds else {}
    try:
        install()
        stale = [path for path, text in write.files().items() if (ROOT / path).read_text() != text]
        if stale:
            raise LintError(f"stale, run `python -m declared.write`: {', '.join(stale)}")
        for tier in TIERS:
            manifests = rendered(tier.name)
            unchecked = check(manifests, known)
            if unchecked and crds:
                raise LintError(f"{crds} has no definition of {', '.join(sorted(unchecked))}")
            if open_doors := guard.faults(manifests):
                raise LintError("\n".join(open_doors))
            kinds = sorted({manifest["kind"] for manifest in manifests})
            print(f"{tier.name}: {len(manifests)} manifests of {len(kinds)} kinds are well formed")
            if unchecked:
                print(f"  not checked, for want of --crds: {', '.join(sorted(unchecked))}")
    except LintError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
