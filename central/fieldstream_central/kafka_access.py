"""How the centre's programs reach Kafka, and how rights are given there."""

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from fieldstream_schemas.rights import Component, rights

from fieldstream_central.certificate import files
from fieldstream_central.settings import Settings

_OPERATIONS = {"DescribeConfigs": "DESCRIBE_CONFIGS", "AlterConfigs": "ALTER_CONFIGS"}
Properties = dict[str, str | int | float | bool]  # as confluent-kafka declares them


def connection(settings: Settings) -> Properties:
    """librdkafka's properties: where Kafka is and, with a certificate in the settings, who we are.

    Raises SettingsError.
    """
    own = files(settings)
    found: Properties = {"bootstrap.servers": settings.kafka}
    if own is None:
        return found
    return found | {
        "security.protocol": "ssl",
        "ssl.ca.location": str(own.ca),
        "ssl.certificate.location": str(own.cert),
        "ssl.key.location": str(own.key),
    }


def of_job(settings: Settings, job: str) -> dict[str, str]:
    """Properties of Kafka's Java client in a job: where Kafka is and, with `job_certificates`, who the job is."""
    found = {"bootstrap.servers": settings.kafka}
    folder = settings.job_certificates
    if folder is None:
        return found
    return found | {
        "security.protocol": "SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder.absolute() / f"{job}.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder.absolute() / "ca.crt"),
    }


def of_worker(settings: Settings, job: str) -> Properties:
    """As `of_job`, for librdkafka in the Python worker of a job."""
    java = of_job(settings, job)
    found: Properties = {"bootstrap.servers": settings.kafka}
    if "ssl.keystore.location" not in java:
        return found
    own = java["ssl.keystore.location"]
    more = {
        "ssl.certificate.location": own,
        "ssl.key.location": own,
        "ssl.ca.location": java["ssl.truststore.location"],
    }
    return found | {"security.protocol": "ssl"} | more


def as_sql(properties: dict[str, str]) -> str:
    """The properties as options of a table."""
    return ", ".join(f"'properties.{key}' = '{value}'" for key, value in properties.items())


def grant(settings: Settings, principal: str, component: Component) -> int:
    """Gives a principal a component's rights; what it has already stays. Returns how many entries there are.

    Raises KafkaException: we may not, or Kafka has no authorizer.
    """
    bindings = [
        AclBinding(
            ResourceType[right.resource.upper()],
            right.name,
            ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
            f"User:{principal}",
            "*",
            AclOperation[_OPERATIONS.get(operation, operation.upper())],
            AclPermissionType.ALLOW,
        )
        for right in rights(component)
        for operation in right.operations
    ]
    unique = list(dict.fromkeys(bindings))
    admin = AdminClient(connection(settings))  # named, or it is gone before Kafka answers
    for future in admin.create_acls(unique).values():
        future.result(30)
    return len(unique)
