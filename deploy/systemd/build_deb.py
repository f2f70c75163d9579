"""Builds fieldstream-gateway_VERSION_ARCH.deb: the gateway with its dependencies, its unit, and its maintainer scripts.

    .venv/bin/python deploy/systemd/build_deb.py [--version 0.1.0] [--arch amd64|arm64] [--out dist]

Dependencies come as wheels from the configured package index, for Debian 12's Python 3.11, and are unpacked into
/usr/lib/fieldstream-gateway: nothing is compiled, and nothing of the system's Python is changed.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_PLATFORMS = {
    "amd64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64"),
}
_LAUNCHER = """#!/usr/bin/python3.11 -I
import sys
sys.path.insert(0, "/usr/lib/fieldstream-gateway")
from fieldstream_edge.cli import main
sys.exit(main())
"""
_CONTROL = """Package: fieldstream-gateway
Version: {version}
Architecture: {arch}
Maintainer: Fieldstream maintainers <maintainers@fieldstream.invalid>
Depends: python3.11, passwd, ca-certificates
Section: net
Priority: optional
Description: readings from MQTT, kept on disk, forwarded to Kafka
 Acknowledges a reading to its device only once it is on disk, and keeps it until Kafka has it.
"""


def main() -> int:
    """Builds and prints the path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--arch", choices=tuple(_PLATFORMS), default="amd64")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--cache", type=Path, help="keeps the dependencies' wheels for the next build")
    arguments = parser.parse_args()
    print(build(arguments.version, arguments.arch, arguments.out, arguments.cache))
    return 0


def wheels(directory: Path, arch: str, cache: Path | None = None) -> list[Path]:
    """The gateway's own wheels and those of all its dependencies, binary only, for the architecture.

    The dependencies' are kept in `cache`, and taken from there the next time.
    """
    for project in ("schemas", "edge"):
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(directory),
        ]
        subprocess.run([*command, str(ROOT / project)], check=True)
    own = list(directory.glob("*.whl"))
    names = _requirements()
    kept = cache / f"{arch}-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:12]}" if cache else None
    if kept and kept.exists():
        return own + sorted(kept.glob("*.whl"))
    others = kept or directory
    platforms = [option for name in _PLATFORMS[arch] for option in ("--platform", name)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--no-deps", "--python-version", "3.11",
         "--implementation", "cp", *platforms, "-d", str(others), *names],
        check=True,
    )  # fmt: skip
    return own + [path for path in others.glob("*.whl") if path not in own]


def _requirements() -> list[str]:
    """The closure of the gateway's dependencies, in the versions of this environment."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = ["fieldstream-edge"]
    while waiting:
        for line in requires(waiting.pop()) or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            name = requirement.name
            if name.startswith("fieldstream-"):
                waiting.append(name)
            elif name not in found:
                found[name] = f"{name}=={installed_version(name)}"
                waiting.append(name)
    return sorted(found.values())


def build(version: str, arch: str, out: Path, cache: Path | None = None) -> Path:
    """Builds the package into `out`; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tree = work / "tree"
        library = tree / "usr/lib/fieldstream-gateway"
        library.mkdir(parents=True)
        (work / "wheels").mkdir()
        for wheel in wheels(work / "wheels", arch, cache):
            shutil.unpack_archive(str(wheel), str(library), "zip")
        for metadata in library.glob("fieldstream_edge-*.dist-info/METADATA"):
            text = metadata.read_text().splitlines()
            metadata.write_text(
                "\n".join(f"Version: {version}" if line.startswith("Version:") else line for line in text) + "\n"
            )
        _install(tree, "usr/bin/fieldstream-gateway", _LAUNCHER, 0o755)
        _install(
            tree, "lib/systemd/system/fieldstream-gateway.service", (_HERE / "fieldstream-gateway.service").read_text()
        )
        for page in ("gateway.md", "bad-input.md"):
            _install(tree, f"usr/share/doc/fieldstream-gateway/{page}", (ROOT / "docs" / page).read_text())
        _install(tree, "usr/share/doc/fieldstream-gateway/copyright", (ROOT / "LICENSE").read_text())
        _install(tree, "DEBIAN/control", _CONTROL.format(version=version, arch=arch))
        for script in ("preinst", "postinst", "prerm", "postrm"):
            _install(
                tree, f"DEBIAN/{script}", (_HERE / "debian" / script).read_text().replace("@VERSION@", version), 0o755
            )
        package = out / f"fieldstream-gateway_{version}_{arch}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(package)],
            check=True,
            capture_output=True,
        )
    return package


def _install(tree: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


if __name__ == "__main__":
    sys.exit(main())
