"""Personal fields are declared in the schemas; what is declared leaves readings.raw only as a pseudonym."""

import re
from importlib.resources import files

from fieldstream_schemas.topics import READINGS_RAW, TOPICS


def test_personal_fields_stand_in_readings_raw_alone() -> None:
    assert {topic.name: topic.personal_fields for topic in TOPICS.values() if topic.personal_fields} == {
        READINGS_RAW.name: ["operator"]
    }


def test_the_pipeline_writes_personal_fields_only_through_the_pseudonym() -> None:
    text = re.sub(r"--.*", "", files("fieldstream_central.stream").joinpath("pipeline.sql").read_text())
    inserts = [part for part in text.split(";\n") if part.strip().startswith("INSERT")]
    assert len(inserts) == 3
    for field in READINGS_RAW.personal_fields:
        for insert in inserts:
            assert not re.search(rf"\b{field}\b", insert.replace(f"pseudonym(r.{field})", "")), insert
