"""Disks that can fill up or lose what was not synced: a loop-mounted ext4 image, and small file systems in memory.

Both need root. Mounts are made in this process's mount namespace; whoever made one unmounts it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def no_loop_device() -> str:
    """Why loop-mounted images do not work here; empty if they do."""
    if os.geteuid() != 0:
        return "needs root for loop-mounted images"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is not installed"
    found = subprocess.run(["losetup", "-f"], check=False, capture_output=True)
    return "" if found.returncode == 0 else "no loop device"


def unmount(mount_point: Path) -> None:
    """Unmounts, also when a process that ends just now still holds a file; nothing if it is no mount point."""
    for _ in range(50):
        if not mount_point.is_mount():
            return
        if subprocess.run(["umount", str(mount_point)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", str(mount_point)], check=False)


class Disk:
    """An ext4 image, mounted; `copy_as_it_is` gives the disk as it would be found after a power cut."""

    def __init__(self, directory: Path, mount_point: Path | None = None) -> None:
        self._directory = directory
        self._image = directory / "0.img"
        self._number = 0
        self.mount_point = mount_point or directory / "mnt"
        directory.mkdir(parents=True, exist_ok=True)
        self.mount_point.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(self._image)], check=True)
        self.mount()

    def mount(self) -> None:
        """Mounts the image. Raises CalledProcessError, for instance without a free loop device."""
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.mount_point)], check=True)

    def unmount(self) -> None:
        """Unmounts the image; the file stays."""
        unmount(self.mount_point)

    def copy_as_it_is(self) -> Path:
        """What is on the disk now; what was not synced is not."""
        self._number += 1
        copy = self._directory / f"{self._number}.img"
        subprocess.run(["cp", "--sparse=always", str(self._image), str(copy)], check=True)
        return copy

    def replace_by(self, copy: Path) -> None:
        """Mounts a copy instead."""
        self.unmount()
        self._image.unlink()
        self._image = copy
        self.mount()


def mount_in_memory(mount_point: Path, megabytes: int) -> None:
    """A file system of this size in memory. Raises CalledProcessError where mounting is not allowed."""
    mount_point.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(mount_point)], check=True)


@contextmanager
def full(mount_point: Path) -> Iterator[None]:
    """No byte is free on the file system as long as this lasts."""
    filler = mount_point / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for block in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * block)
                except OSError:
                    continue
        yield
    finally:
        filler.unlink()
