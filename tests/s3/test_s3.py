"""Checkpoints on S3: kills, a bucket that is away, an upgrade; an oracle counts. `make test-s3`."""

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from chaos import versions
from chaos.harm import Drill, DrillError, until
from chaos.run import run
from chaos.world import World
from local.layout import ROOT

from s3.bucket import URI, Bucket, BucketWorld, build

AWAY_S = 120
KEPT_MOST = 2  # complete ones of each run of a job: the newest, and one that is being replaced


@pytest.fixture(scope="module")
def bucket() -> Bucket:
    build()
    return Bucket(ROOT / "var" / "test-s3" / "bucket")


@pytest.fixture(scope="module")
def world(bucket: Bucket) -> Iterator[BucketWorld]:
    world = BucketWorld(ROOT / "var" / "test-s3" / "stack", breakable=False)
    world.start()
    yield world
    world.stop()
    bucket.stop()


def both_killed(world: World, _chance: random.Random) -> None:
    """JobManager and TaskManager at once: all that is left of the jobs is in the bucket."""
    assert isinstance(world, BucketWorld)
    until(
        "both jobs have a checkpoint", lambda: all(world.latest(job).startswith(URI) for job in ("pipeline", "detect"))
    )
    world.kill("flink-jobmanager")
    world.kill("flink-taskmanager")


def away_and_killed(bucket: Bucket) -> Drill:
    """The bucket goes, then the TaskManager: nothing may begin anew from the beginning of the topic."""

    def hurt(world: World, _chance: random.Random) -> None:
        bucket.stop()
        world.kill("flink-taskmanager")
        world.kill("flink-jobmanager")
        time.sleep(AWAY_S)
        submitted = (world.layout.logs / "jobs.log").read_text().splitlines()
        bucket.start()
        if "from the beginning" in submitted[-1]:
            raise DrillError(f"a job began anew while its checkpoints could not be seen: {submitted[-1]}")

    return Drill("s3-away", "the bucket away for 2 min, Flink kill -9", hurt)


@pytest.mark.timeout(1800)
def test_both_killed_go_on_from_the_bucket(world: BucketWorld) -> None:
    report = run("s3-kill", [Drill("s3-kill", "JobManager and TaskManager kill -9", both_killed)], 1, world)
    assert report.passed, report.figures
    restored = [line for line in (world.layout.logs / "jobs.log").read_text().splitlines() if "submitting" in line]
    assert all(URI in line for line in restored[-2:]), restored


@pytest.mark.timeout(1800)
def test_the_bucket_away_for_minutes_costs_nothing(world: BucketWorld, bucket: Bucket) -> None:
    report = run("s3-away", [away_and_killed(bucket)], 1, world)
    assert report.passed, report.figures


@pytest.mark.timeout(1800)
def test_both_jobs_are_upgraded_by_savepoints_in_the_bucket(world: BucketWorld) -> None:
    report = run("s3-upgrade", [Drill("s3-upgrade", "both jobs upgraded", versions.upgrade, calm=True)], 1, world)
    assert report.passed, report.figures


def test_old_checkpoints_do_not_pile_up(world: BucketWorld, bucket: Bucket) -> None:
    runs = Counter(path.rpartition("/")[0] for path in bucket.complete() if "/savepoints/" not in path)
    assert {path.split("/")[1] for path in runs} == {"pipeline", "detect"}
    assert max(runs.values()) <= KEPT_MOST, runs
