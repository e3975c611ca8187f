"""What can go wrong, by kind; the text of each says what, where and what to do.

NetsynthError
  CaptureError    a capture cannot be read or written
  TableError      columns of a table do not fit together
  ConfigError     a setting is out of range or unknown
  ModelError      a model file cannot be read, or does not fit its use
"""


class NetsynthError(Exception):
    """Any error that a user can cause and mend; `cli/main.py` prints it as one line."""


class CaptureError(NetsynthError):
    """A capture is missing, malformed, cut off, empty or cannot be written."""


class TableError(NetsynthError):
    """Columns of a table differ in length, order or range."""


class ConfigError(NetsynthError):
    """A setting is unknown or out of range."""


class ModelError(NetsynthError):
    """A model file is missing, malformed, of a newer schema, or unfit for its use."""
