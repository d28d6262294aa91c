"""Errors that a user can cause or mend, each with its exit code.

A message says the fact, the value and the remedy. Only ``cli/app.py`` turns one into output and an exit status.
"""


class KofidError(Exception):
    """Stop with a message for the user."""

    exit_code = 1


class UsageError(KofidError):
    """A command was asked for something that its options do not allow."""

    exit_code = 2


class InputError(KofidError):
    """What a user handed in cannot be read; the message names file and line."""

    exit_code = 3


class CorruptArtifactError(KofidError):
    """Something kofid wrote is no longer what it wrote."""

    exit_code = 4


class IncompatibleArtifactError(KofidError):
    """An artifact is sound but was made with other settings, or is of another kind."""

    exit_code = 5


class ResourceError(KofidError):
    """Disk, memory, a lock or an optional package is missing."""

    exit_code = 6
