"""Errors of the spool.

SpoolError
 +-- SpoolFullError     policy refuse-new and no room: try again later
 +-- SpoolIOError       the disk refused; nothing of the batch counts as accepted
 +-- SpoolOwnedError    another process has it
 +-- SpoolFormatError   written by a newer version, or not a spool
 +-- SpoolKeyError      encrypted, and the key is missing or another one
 +-- DamagedBatchError  a batch that fails its checks
"""


class SpoolError(Exception):
    """The spool could not do what was asked."""


class SpoolFullError(SpoolError):
    """There is no room and the policy is to refuse new entries. The same batch may be stored later."""


class SpoolIOError(SpoolError):
    """The disk reported an error. Nothing of the batch is accepted; the same batch may be stored again."""


class SpoolOwnedError(SpoolError):
    """Another process owns the spool."""


class SpoolFormatError(SpoolError):
    """The directory holds a spool that this version cannot read."""


class SpoolKeyError(SpoolError):
    """The spool is encrypted and its key is missing, unusable or another one."""


class DamagedBatchError(SpoolError):
    """Bytes that should be a batch fail its checks."""
