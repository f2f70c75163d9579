"""What a job is told: much on a shared cluster, little in a cluster of its own."""

import pytest
from fieldstream_central.settings import Settings
from fieldstream_central.stream.cluster import job_configuration
from fieldstream_schemas.registry import SchemaRegistry

OF_THE_CLUSTER = ("execution.target", "rest.address", "parallelism.default", "execution.checkpointing.dir")


@pytest.mark.parametrize(
    ("flink", "told"), [("http://127.0.0.1:8082", True), ("http://fieldstream-{job}-rest:8081", False)]
)
def test_a_job_in_a_cluster_of_its_own_is_not_told_what_that_knows(
    flink: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SchemaRegistry, "wait_for_id", lambda *_: 1)
    configuration = job_configuration(Settings(flink=flink), name="pipeline", restore_from=None)
    assert [key in configuration for key in OF_THE_CLUSTER] == [told] * len(OF_THE_CLUSTER)
    assert configuration["pipeline.name"] == "pipeline"
