"""The file operations that the spool needs: few, so that a test can make each of them fail."""

import errno
import os
from pathlib import Path


class Files:
    """File operations of the operating system. Every method may raise OSError."""

    def create(self, path: Path, size: int) -> int:
        """A new file, open for reading and writing, with `size` bytes reserved on disk where that is possible."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                os.ftruncate(fd, size)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Writes all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def sync(self, fd: int) -> None:
        """Returns when the file's content is on disk."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Returns when the directory's entries are on disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cuts the file."""
        os.ftruncate(fd, size)

    def delete(self, path: Path) -> None:
        """Removes the file; one that is gone already is fine."""
        path.unlink(missing_ok=True)


def write_whole(files: Files, path: Path, content: bytes) -> None:
    """Replaces a small file so that after any stop it is the old or the new one. Raises OSError."""
    aside = path.with_name(f"{path.name}.new")
    files.delete(aside)
    fd = files.create(aside, len(content))
    try:
        files.write(fd, content, 0)
        files.sync(fd)
    finally:
        os.close(fd)
    aside.replace(path)
    files.sync_directory(path.parent)
