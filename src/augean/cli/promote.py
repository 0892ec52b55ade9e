"""`augean promote`: the winner of a study as an experiment file."""

import argparse
import shlex

from augean.cli.parser import Commands, add_command, add_outputs_option, path_argument

PROMOTE_EXAMPLES = """
augean promote tune_final                                 writes conf/experiment/tuned.yaml
augean train experiment=tuned seed=7                      a run with the winner's values
"""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "promote",
        run_promote,
        summary="write the winner of a study as an experiment file",
        examples=PROMOTE_EXAMPLES,
    )
    parser.add_argument("study", help="name of the study, such as tune_final")
    add_outputs_option(parser)
    parser.add_argument(
        "--to", type=path_argument, help="file to write (default: conf/experiment/tuned.yaml)"
    )


def run_promote(arguments: argparse.Namespace) -> int:
    """Write a study's winner and say how to use it."""
    from augean.config.key_suggestions import group_names
    from augean.config.paths import config_dir, own_config_dir
    from augean.sweeps.studies.promote import promote

    target = arguments.to or own_config_dir() / "experiment" / "tuned.yaml"
    path = promote(arguments.outputs, arguments.study, set(group_names()), target)
    folder = path.absolute().parent
    if folder.name != "experiment":
        use = "to use it, move it to a folder named experiment, such as conf/experiment"
    elif folder.parent.resolve() == config_dir().resolve():
        use = f"use it with experiment={path.stem}"
    else:
        use = f"use it with -cd {shlex.quote(str(path.parent.parent))} experiment={path.stem}"
    print(f"Written: {path}; {use}")
    return 0
