"""Turn a folder of runs into tables, figures and a page.

`make_report` writes everything; `load_runs` and `load_metrics` give the same data to a notebook.
Only run directories and sweep records are read, and torch is never loaded.
"""

import os
from contextlib import suppress

# Notebooks name their own backend in MPLBACKEND, and matplotlib cannot be imported where that
# backend is not installed. The report draws without one, so the name is put aside for the import.
_backend = os.environ.pop("MPLBACKEND", None)
import matplotlib  # noqa: E402

if _backend is not None:
    os.environ["MPLBACKEND"] = _backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend

from augean.analysis.load import Problem, load_runs  # noqa: E402
from augean.analysis.recordings import load_metrics  # noqa: E402
from augean.report.write import ReportResult, make_report  # noqa: E402

__all__ = ["Problem", "ReportResult", "load_metrics", "load_runs", "make_report"]
