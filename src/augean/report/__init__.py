"""Turn a folder of runs into tables, figures and a page.

`make_report` writes everything; `load_runs` and `load_metrics` give the same data to a notebook.
Only run directories and sweep records are read, and torch is never loaded.
"""

from augean.analysis.load import Problem, load_metrics, load_runs
from augean.report.write import ReportResult, make_report

__all__ = ["Problem", "ReportResult", "load_metrics", "load_runs", "make_report"]
