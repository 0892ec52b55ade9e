"""The errors that a user can cause: each message names the bad value, its place and the fix."""


class AugeanError(Exception):
    """A mistake that a user can mend. Shown as its message alone, without a traceback."""


class UsageError(AugeanError):
    """A command line that cannot be understood; exit code 2 instead of 1."""


class ConfigError(AugeanError):
    """The config is wrong: unknown key, wrong type, value out of range, class not allowed."""


class SetupError(AugeanError):
    """What every run of a sweep needs is missing: the sweep stops at its first run."""


class DataError(SetupError):
    """The data set is missing, incomplete or broken."""


class DeviceError(SetupError):
    """The device that the config names is not on this machine."""


class StorageError(SetupError):
    """A study's storage cannot be opened or reached."""


class RunLocked(AugeanError):
    """Another live process is training this run."""


class Pruned(AugeanError):
    """A study has stopped the run early; it is interrupted, with its checkpoint."""
