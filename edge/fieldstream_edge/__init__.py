"""The Fieldstream gateway: readings from MQTT, durable on disk, onward to Kafka."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fieldstream-edge")
except PackageNotFoundError:  # pragma: no cover - run from a source tree that is not installed
    __version__ = "0"
