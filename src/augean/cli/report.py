"""`augean report` and `results`: tables, figures and pages from runs."""

import argparse
import sys

from augean.cli.json_option import add_json_option, messages_on_stderr
from augean.cli.parser import Commands, add_command, add_outputs_option, path_argument
from augean.terminal import counted

REPORT_EXAMPLES = """
augean report --outputs outputs                           outputs/report/index.html
augean report --select optimizer.name=sgd,adam            some of the runs
"""
SELECT_HINT = "; it is of all sweeps, and --select <key>=<value> of some runs"
"""Hint for a user who passes the name of a sweep to `augean report`."""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "report",
        run_report,
        summary="tables, figures and a page from an output directory",
        examples=REPORT_EXAMPLES,
    )
    add_outputs_option(parser)
    add_json_option(parser)
    parser.add_argument(
        "--select", help="only runs with these values, such as optimizer.name=sgd,adam"
    )
    parser = add_command(
        commands,
        "results",
        run_results,
        summary="results to commit: the course report's claims judged, tables, figures, and the"
        " archive that they come from",
    )
    parser.add_argument(
        "source", type=path_argument, help="output directory, or an archive that augean pack made"
    )
    parser.add_argument(
        "--to", type=path_argument, required=True, help="folder to write, such as results/reduced"
    )
    parser.add_argument(
        "--fill",
        type=path_argument,
        action="append",
        default=[],
        metavar="DOCUMENT",
        help="a document with marked places to fill; several: --fill one.md --fill two.md",
    )


def run_report(arguments: argparse.Namespace) -> int:
    """Write the report; print what it found, a line a table, and where it is."""
    from augean.report import make_report

    # With --json the document is the only text on standard output.
    with messages_on_stderr(arguments.json):
        result = make_report(arguments.outputs, arguments.select)
    problems = [f"{problem.path}: {problem.message}" for problem in result.problems]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not arguments.json:
        for finding in result.beginning.findings:
            print(f"{finding.title}: {finding.text}.")
    page = result.directory / "index.html"
    if arguments.json:
        from augean.cli.json_document import document, table_entry

        sweeps = [table_entry(arguments.outputs, section.table) for section in result.sections]
        print(document("report", arguments.outputs, sweeps, problems, page))
        return result.exit_code
    runs = counted(result.num_runs, "run")
    print(f"Report on {runs}, {counted(len(result.sections), 'table')}: {page}")
    return result.exit_code


def run_results(arguments: argparse.Namespace) -> int:
    """Write a folder of results; return 2 where something had to be left out."""
    from augean.reproduction.results import build_results

    problems = build_results(arguments.source, arguments.to, arguments.fill)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"Results: {arguments.to / 'README.md'}")
    return 2 if problems else 0
