"""Submits the job "pipeline": settings and functions here, the whole logic in pipeline.sql."""

from importlib.resources import files
from string import Template

from fieldstream_schemas.sealing import Seal
from pyflink.table import EnvironmentSettings, StatementSet, TableEnvironment

from fieldstream_central.kafka_access import as_sql, of_job
from fieldstream_central.settings import Settings
from fieldstream_central.stream.cluster import job_configuration
from fieldstream_central.stream.rehearsal import CONFIGURATION, SUFFIX, redirected

WINDOW_S = 10
ALLOWED_LATENESS_S = 600
OUT_OF_ORDER_S = 2  # waits this long before a window closes; what comes later corrects it
FUNCTIONS = {
    "decode_reading": "DecodeReading",
    "first_of_seq": "FirstOfSeq",
    "asset_row": "AssetRow",
    "pseudonym": "Pseudonym",
    "seal": "Seal",
    "corrected_windows": "CorrectedWindows",
    "encode_record": "EncodeRecord",
}


def statements(settings: Settings) -> list[str]:
    """The statements of pipeline.sql, filled in, without comments."""
    lines = files(__package__).joinpath("pipeline.sql").read_text().splitlines()
    template = Template("\n".join(line.split("--")[0].rstrip() for line in lines))
    public_key = settings.letter_public_key_file
    text = template.substitute(
        sealed_by=Seal(public_key).fingerprint if public_key else "",
        kafka=as_sql(of_job(settings, "pipeline")),
        window_s=WINDOW_S,
        out_of_order_s=OUT_OF_ORDER_S,
    )
    return [part.strip(" ;\n") for part in text.split(";\n") if part.strip(" ;\n")]


def prepare(settings: Settings, *, restore_from: str | None, rehearsal: bool = False) -> StatementSet:
    """The job, ready to be executed on the cluster, from a checkpoint or savepoint if given."""
    table_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    more = CONFIGURATION | {"pipeline.name": "pipeline" + SUFFIX} if rehearsal else None
    parameters = {
        "fieldstream.window-ms": str(WINDOW_S * 1000),
        "fieldstream.allowed-lateness-ms": str(ALLOWED_LATENESS_S * 1000),
    }
    configuration = job_configuration(
        settings, name="pipeline", restore_from=restore_from, parameters=parameters, more=more
    ) | {
        "table.exec.source.idle-timeout": "5 s",
        "table.local-time-zone": "UTC",
        "table.exec.sink.not-null-enforcer": "ERROR",
    }
    for key, value in configuration.items():
        table_env.get_config().set(key, value)
    for name, java_class in FUNCTIONS.items():
        table_env.execute_sql(f"CREATE TEMPORARY FUNCTION {name} AS 'fieldstream.{java_class}'")
    inserts = table_env.create_statement_set()
    for statement in statements(settings):
        if statement.startswith("INSERT"):
            inserts.add_insert_sql(statement)
        elif statement.startswith("CREATE TEMPORARY VIEW"):
            # Not as SQL text: Flink 2.3 cannot read its own text of a view that calls a process table function.
            name, query = statement.removeprefix("CREATE TEMPORARY VIEW").split(" AS\n", 1)
            table_env.create_temporary_view(name.strip(), table_env.sql_query(query))
        else:
            table_env.execute_sql(redirected(statement) if rehearsal else statement)
    return inserts
