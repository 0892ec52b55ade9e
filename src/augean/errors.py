"""The errors that a user can cause: each message names the bad value, its place and the fix."""


class AugeanError(Exception):
    """Something a user can mend. Shown as its message alone, without a traceback."""


class ConfigError(AugeanError):
    """The config is wrong: unknown key, wrong type, value out of range, class not allowed."""


class DataError(AugeanError):
    """The data set is missing, incomplete or broken."""


class RunLocked(AugeanError):
    """Another live process is training this run."""
