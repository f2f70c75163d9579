"""Dead letters on their way into the store get a key each, so that one can be forgotten in every backup too.

The bytes are sealed already; here they are encrypted once more under the letter's own key of the keyring. What cannot
be read as a letter passes as it is: the store will refuse it.
"""

from collections.abc import Sequence
from pathlib import Path

from fieldstream_schemas.framed import RecordReader, framed
from fieldstream_schemas.registry import RegistryError, SchemaRegistry
from fieldstream_schemas.topics import DEAD_LETTERS

from fieldstream_central.privacy.keyring import Keyring
from fieldstream_central.privacy.names import lock
from fieldstream_central.store.blocks import Record


class LetterLocker:
    """Locks what was sealed; the key file is read for each block, as a person may have been forgotten meanwhile."""

    def __init__(self, key_file: Path, registry: SchemaRegistry) -> None:
        self._key_file = key_file
        self._registry = registry
        self._reader = RecordReader(registry, DEAD_LETTERS)

    def locked(self, records: Sequence[Record]) -> list[Record]:
        """The same records, their sealed bytes locked. Raises KeyringError when there is no key file."""
        keyring: Keyring | None = None
        done = []
        for record in records:
            try:
                letter = self._reader.read(record.value or b"")
            except (ValueError, EOFError, IndexError, KeyError, RegistryError):
                done.append(record)
                continue
            if letter["sealed_by"]:
                keyring = keyring or Keyring.load(self._key_file)
                letter["payload"] = lock(keyring, letter_id_of(letter), letter["payload"])
                record = record._replace(value=framed(self._registry, DEAD_LETTERS, letter))
            done.append(record)
        return done


def letter_id_of(letter: dict[str, object]) -> str:
    """As the column letter_id of dead_letters_data (schema/0004)."""
    if letter["seq"] is None:
        return f"{letter['origin']}/{letter['source']}"
    return f"{letter['gateway_id']}/{letter['epoch'] or 0}/{letter['seq']}"
