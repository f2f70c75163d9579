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
            AclOperation[operation.upper()],
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
