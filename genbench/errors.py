"""What stops genbench from measuring. What the server does wrong is an outcome on a record, never one of these.

GenbenchError           anything below; the command line prints its one sentence and exits with `exit_code`
├── ConfigError    (2)  an option, a profile or a combination of them
├── DatasetError   (2)  an input file that cannot be read or understood
├── TargetError    (3)  the server cannot be reached, is not ready, or refuses the preflight request
├── RecordError    (2)  a run directory that cannot be read or written
└── UploadError    (5)  a transfer of what was measured; all of it is still on disk

A message names the thing, its value and the next step, in one sentence.
"""


class GenbenchError(Exception):
    """Anything that stops a run; `exit_code` is the process's exit code."""

    exit_code = 2


class ConfigError(GenbenchError):
    """A wrong option, profile key, value or combination."""


class DatasetError(GenbenchError):
    """An input file that is missing, empty or malformed; the message has the line number."""


class TargetError(GenbenchError):
    """No server there, not ready in time, or it refused the preflight request."""

    exit_code = 3


class RecordError(GenbenchError):
    """A run directory that cannot be read or written."""


class UploadError(GenbenchError):
    """A run's folder that was not put where it should go."""

    exit_code = 5
