"""The programs of the local stack: how each is started and how one sees that it is ready."""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from local import secure
from local.install import java_home, path_of
from local.layout import JAVA_PARTS, ROOT, VENV, Layout


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised program. `ready` is asked again and again until it says true.

    `after_topics`: it keeps topics of its own, with as many copies as there are brokers when it makes them.
    """

    name: str
    command: str
    ready: Callable[[], bool]
    ports: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    stop_wait_s: int = 15
    after_topics: bool = False


def answers(layout: Layout, name: str, path: str, *, refused: bool = False) -> Callable[[], bool]:
    """Ready when a GET gives status 200; with `refused` also when it asks who we are."""

    def ready() -> bool:
        try:
            url = layout.url(name) + path
            with urllib.request.urlopen(url, timeout=1, context=layout.tls(name)) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            return refused and error.code == HTTPStatus.UNAUTHORIZED
        except (urllib.error.URLError, OSError):
            return False

    return ready


def listens(port: int) -> Callable[[], bool]:
    """Ready when the port accepts a connection."""

    def ready() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    return ready


def outside_parts(layout: Layout) -> list[Program]:
    """Everything that is not ours. They need nothing of each other, but the registry needs Kafka."""
    java = java_home() / "bin/java"
    flink_env = {
        "JAVA_HOME": str(java_home()),
        "FLINK_CONF_DIR": f"{layout.var}/flink/conf",
        "FLINK_LOG_DIR": f"{layout.var}/flink/log",
        "PATH": f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "FIELDSTREAM_CONFIG": str(layout.settings_of("jobs")),
    }
    kafka_cp = f"{JAVA_PARTS}/kafka/*"
    return [
        Program(
            name="kafka",
            command=f"{java} -Xmx512m -Xms256m -XX:+UseSerialGC "
            f"-Dlog4j2.configurationFile={layout.config}/log4j2.properties -cp {kafka_cp} "
            f"kafka.Kafka {layout.config}/kafka.properties",
            ready=listens(layout.ports["kafka"]),
            ports=("kafka", "kafka_controller", *(("kafka_field",) if layout.secure else ())),
            stop_wait_s=30,
        ),
        Program(
            name="mosquitto",
            command=f"{path_of('mosquitto')} -c {layout.config}/mosquitto.conf",
            ready=listens(layout.ports["mqtt"]),
            ports=("mqtt",),
        ),
        Program(
            name="flink-jobmanager",
            command=f"{JAVA_PARTS}/flink/bin/jobmanager.sh start-foreground",
            ready=answers(layout, "flink", "/overview"),
            ports=("flink", "flink_rpc"),
            environment=flink_env,
        ),
        Program(
            name="flink-taskmanager",
            command=f"{JAVA_PARTS}/flink/bin/taskmanager.sh start-foreground",
            ready=lambda: True,
            environment=flink_env,
        ),
        Program(
            name="clickhouse",
            command=f"{VENV}/bin/fieldstream store serve --path {layout.var}/clickhouse "
            f"--port {layout.ports['clickhouse']}" + (f" --users {layout.config}/users.toml" if layout.secure else ""),
            ready=answers(layout, "clickhouse", "/ping"),
            ports=("clickhouse",),
            environment=ours(layout, "clickhouse"),
            stop_wait_s=30,
        ),
        Program(
            name="alertmanager",
            command=f"{path_of('prometheus-alertmanager')} --config.file={layout.config}/alertmanager.yml "
            f"--storage.path={layout.var}/alertmanager --cluster.listen-address= "
            # What was sent is noted this often: killed with -9, it would send again what is not noted.
            f"--data.maintenance-interval=5s "
            f"--web.listen-address={layout.address('alertmanager')} --log.level=warn"
            + web_config(layout, "alertmanager"),
            ready=answers(layout, "alertmanager", "/-/ready"),
            ports=("alertmanager",),
        ),
        Program(
            name="prometheus",
            command=f"{path_of('prometheus')} --config.file={layout.config}/prometheus.yml "
            f"--storage.tsdb.path={layout.var}/prometheus --storage.tsdb.retention.time=2d "
            f"--web.listen-address={layout.address('prometheus')} --log.level=warn" + web_config(layout, "prometheus"),
            ready=answers(layout, "prometheus", "/-/ready"),
            ports=("prometheus",),
        ),
        Program(
            name="mailbox",
            command=f"{VENV}/bin/python -m local.mailbox --http-port {layout.ports['mailbox']} "
            f"--smtp-port {layout.ports['smtp']} --file {layout.var}/notifications.jsonl",
            ready=answers(layout, "mailbox", "/notifications"),
            ports=("mailbox", "smtp"),
            environment=ours(layout, "mailbox") | {"PYTHONPATH": str(ROOT / "deploy")},
        ),
        *grafana(layout),
    ]


def web_config(layout: Layout, name: str) -> str:
    """The option by which Prometheus and Alertmanager ask for certificates."""
    return f" --web.config.file={layout.config}/web-{name}.yml" if layout.secure else ""


def grafana(layout: Layout) -> list[Program]:
    """Grafana with our dashboards, where it is installed; it fetches the ClickHouse plugin itself."""
    program = path_of("grafana")
    if not program:
        return []
    return [
        Program(
            name="grafana",
            command=f"{program} server --homepath /usr/share/grafana",
            ready=answers(layout, "grafana", "/api/health"),
            ports=("grafana",),
            environment={
                "GF_SERVER_HTTP_ADDR": "127.0.0.1",
                "GF_SERVER_HTTP_PORT": str(layout.ports["grafana"]),
                "GF_PATHS_DATA": f"{layout.var}/grafana/data",
                "GF_PATHS_LOGS": str(layout.logs),
                "GF_PATHS_PROVISIONING": f"{layout.config}/grafana",
                "GF_AUTH_ANONYMOUS_ENABLED": "true",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_PLUGINS_PREINSTALL_SYNC": "grafana-clickhouse-datasource",
                "FIELDSTREAM_GRAFANA_CLICKHOUSE_PASSWORD": "",
            },
        )
    ]


def registry(layout: Layout) -> Program:
    """The schema registry, kept in Kafka."""
    return Program(
        name="registry",
        command=f"{java_home()}/bin/java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
        f"-jar {JAVA_PARTS}/registry/quarkus-run.jar",
        ready=answers(layout, "registry", "/apis/ccompat/v7/subjects", refused=layout.secure),
        ports=("registry", "registry_management"),
        environment={
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": "0" if layout.secure else str(layout.ports["registry"]),
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": str(layout.ports["registry_management"]),
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": layout.address("kafka"),
        }
        | ({"QUARKUS_CONFIG_LOCATIONS": f"{layout.config}/registry.properties"} if layout.secure else {}),
        after_topics=True,
    )


def our_programs(layout: Layout) -> list[Program]:
    """Ours, in the order a reading meets them. Each waits by itself for what it needs."""

    def program(name: str, command: str, path: str, port: str) -> Program:
        return Program(
            name=name,
            command=f"{VENV}/bin/{command}",
            ready=answers(layout, port, path),
            ports=(port,),
            environment=ours(layout, name),
        )

    return [
        program("gateway", f"fieldstream-gateway run --config {layout.config}/gateway.toml", "/readyz", "gateway"),
        program("jobs", "fieldstream jobs run", "/metrics", "jobs"),
        program("loader", "fieldstream loader", "/metrics", "loader"),
        program("alerter", "fieldstream alerter", "/metrics", "alerter"),
        program("watchdog", f"fieldstream notify watchdog --port {layout.ports['watchdog']}", "/", "watchdog"),
        program("api", f"fieldstream api --port {layout.ports['api']}", "/healthz", "api"),
        program("console", f"fieldstream console --port {layout.ports['console']}", "/", "console"),
    ]


def ours(layout: Layout, name: str) -> dict[str, str]:
    """Environment of one of our own programs."""
    return ({"SSL_CERT_FILE": f"{layout.pki}/ca.crt"} if layout.secure else {}) | {
        "FIELDSTREAM_CONFIG": str(layout.settings_of(name) if name in secure.OURS else layout.settings_file),
        "JAVA_HOME": str(java_home()),
        "FLINK_HOME": f"{JAVA_PARTS}/flink",
        "PYTHONUNBUFFERED": "1",
    }
