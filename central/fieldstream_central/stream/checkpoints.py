"""Where the jobs' checkpoints and savepoints lie: a folder, or `s3://BUCKET/PREFIX` of any S3-compatible store.

For S3, keys, region and endpoint are those of the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL_S3. Every function raises OSError when the store does not answer.
"""

import time
from pathlib import Path

from pyarrow import fs  # type: ignore[import-untyped]

from fieldstream_central.settings import Settings


def folder_uri(settings: Settings, name: str) -> str:
    """Folder of one job's checkpoints, as a URI; below it one folder per Flink job id."""
    root = settings.flink_checkpoints
    return f"{root.rstrip('/') if '://' in root else Path(root).absolute().as_uri()}/{name}"


def savepoints_uri(settings: Settings, name: str) -> str:
    """Folder of one job's savepoints."""
    return f"{folder_uri(settings, name)}/savepoints"


def is_held(settings: Settings, name: str) -> bool:
    """Whether somebody stopped the job on purpose: then the keeper does not start it."""
    store, path = fs.FileSystem.from_uri(_hold_uri(settings, name))
    return bool(store.get_file_info(path).type == fs.FileType.File)


def hold(settings: Settings, name: str) -> None:
    """Keeps the keeper from starting the job."""
    store, path = fs.FileSystem.from_uri(_hold_uri(settings, name))
    store.create_dir(path.rpartition("/")[0], recursive=True)
    store.open_output_stream(path).close()


def release(settings: Settings, name: str) -> None:
    """Lets the keeper start the job."""
    if is_held(settings, name):
        store, path = fs.FileSystem.from_uri(_hold_uri(settings, name))
        store.delete_file(path)


def is_complete(uri: str) -> bool:
    """Whether a whole checkpoint or savepoint lies there. Raises ValueError for what is no URI."""
    store, path = fs.FileSystem.from_uri(uri)
    return bool(store.get_file_info(f"{path.rstrip('/')}/_metadata").size)


def choose(settings: Settings, name: str, uri: str) -> None:
    """Lets the job go on from there at its next start, though others are newer. Call it while the job is stopped."""
    store, path = fs.FileSystem.from_uri(_chosen_uri(settings, name))
    with store.open_output_stream(path) as file:
        file.write(uri.encode())


def latest(settings: Settings, name: str) -> str | None:
    """What the job goes on from, as a URI: its newest complete checkpoint or savepoint, or the one that was chosen, as
    long as none is newer than the choice; None if there is none."""
    newest = _newest_metadata(settings, name)
    store, path = fs.FileSystem.from_uri(_chosen_uri(settings, name))
    chosen = store.get_file_info(path)
    if chosen.type == fs.FileType.File and (newest is None or chosen.mtime_ns >= newest.mtime_ns):
        with store.open_input_stream(path) as file:
            return str(file.read().decode())
    if newest is None:
        return None
    made = newest.path.rpartition("/")[0]
    return f"s3://{made}" if "://" in settings.flink_checkpoints else Path(made).as_uri()


def age_s(settings: Settings, name: str) -> float | None:
    """Seconds since the job's newest complete checkpoint; None if there is none."""
    newest = _newest_metadata(settings, name)
    return time.time() - newest.mtime_ns / 1e9 if newest else None


def delete(uri: str) -> None:
    """Deletes a savepoint."""
    store, path = fs.FileSystem.from_uri(uri)
    store.delete_dir(path)


def _hold_uri(settings: Settings, name: str) -> str:
    return f"{folder_uri(settings, name)}/hold"


def _chosen_uri(settings: Settings, name: str) -> str:
    return f"{folder_uri(settings, name)}/chosen"


def _newest_metadata(settings: Settings, name: str) -> fs.FileInfo | None:
    store, path = fs.FileSystem.from_uri(folder_uri(settings, name))
    runs = _listed(store, path, fs.FileType.Directory)
    made = [one for run in runs for one in _listed(store, run.path, fs.FileType.Directory)]
    files = store.get_file_info([f"{one.path}/_metadata" for one in made])
    return max((one for one in files if one.size), key=lambda one: one.mtime_ns, default=None)


def _listed(store: fs.FileSystem, path: str, kind: fs.FileType) -> list[fs.FileInfo]:
    return [one for one in store.get_file_info(fs.FileSelector(path, allow_not_found=True)) if one.type == kind]
