"""Creates the Kafka topics and registers their schemas. Safe to repeat."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from fieldstream_schemas.registry import SchemaRegistry
from fieldstream_schemas.topics import TOPICS

from fieldstream_central.kafka_access import connection
from fieldstream_central.settings import Settings


def kafka_answers(settings: Settings) -> bool:
    """Whether the cluster answers a client within two seconds."""
    try:
        AdminClient({**connection(settings), "log_level": 0}).list_topics(timeout=2)
    except KafkaException:
        return False
    return True


def create_topics(settings: Settings, *, replication: int = -1) -> list[str]:
    """Creates the topics that are missing, by default with as many copies as the cluster keeps. Returns their names.

    Raises KafkaException if Kafka refuses.
    """
    admin = AdminClient(connection(settings))
    wanted = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=replication,
            # Gateways keep readings for days: their event time is the record's time, so old is not wrong.
            config=topic.config | {"message.timestamp.type": "CreateTime"},
        )
        for topic in TOPICS.values()
    ]
    created = []
    for name, future in admin.create_topics(wanted).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created


def schemas_on_disk(settings: Settings) -> bool:
    """Whether every topic's schema id is known without asking the registry."""
    return SchemaRegistry(settings.registry, settings.schema_cache).holds(TOPICS.values())


def register_schemas(settings: Settings) -> dict[str, int]:
    """Sets the compatibility rule and registers every topic's schema. Returns the ids by subject."""
    registry = SchemaRegistry(settings.registry, settings.schema_cache)
    registry.require_compatibility("FULL")
    ids = {}
    for topic in TOPICS.values():
        registry.register(topic)
        ids[topic.subject] = registry.id_of(topic)
    return ids
