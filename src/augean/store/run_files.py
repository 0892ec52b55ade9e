"""Name the files of a run's directory, and find the run's id in the directory's name."""

import re

RUN_ID = "[0-9a-f]{10}"
"""A run's id, as a regular expression."""
CONFIG = "config.yaml"
SUMMARY = "summary.json"
METRICS_FILE = "metrics.csv"
WEIGHTS = "best.pt"
"""The weights that were tested."""
STATE = "state.pt"
"""The last state, from which a longer training goes on; kept by `runtime.keep_state`."""
MODEL = "model.json"
"""The modules of the network and their shapes."""
CONFUSION = "confusion.csv"
"""How often each class was taken for each."""
CORRECT = "correct.npy"
"""One bit a test image, in their order: whether its class is predicted right."""
STEP_LOSSES = "steps.npy"
"""The training loss of every step."""
PROBES = "probe.csv"
"""The measures of the loss landscape."""
FAILURE = "failure.txt"
"""Why the last try failed."""
UNPACKED = "unpacked.txt"
"""Marks a run that came in an archive: the folders that it recorded were those of its own project,
and what lies there as seen from here may be another one's."""
# No run needs all of them: a custom loop writes few, steps.npy and probe.csv come from the keys of
# `record`, state.pt from `runtime.keep_state`.
DIGESTED_FILES = (
    CONFIG,
    METRICS_FILE,
    MODEL,
    CONFUSION,
    CORRECT,
    STEP_LOSSES,
    PROBES,
    WEIGHTS,
    STATE,
)
"""Files whose sha256 the summary holds."""


def id_in_name(name: str) -> str | None:
    """Return the id of the run whose directory has this name; None for other directories."""
    match = re.fullmatch(rf"(?:.*-)?({RUN_ID})", name)
    return None if match is None else match[1]
