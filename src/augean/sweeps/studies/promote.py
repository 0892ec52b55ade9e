"""Write a study's winner as an experiment file, from which the next sweep can start."""

from pathlib import Path

from hydra.errors import HydraException
from omegaconf import OmegaConf

from augean.config.override_text import command_in
from augean.errors import AugeanError
from augean.override_key import override_key
from augean.store.files import write_atomic
from augean.store.sweep_record import SweepRecord, read_records
from augean.suggestions import choose_by_name
from augean.sweeps.composition import read_values


def promote(outputs: Path, name: str, groups: set[str], target: Path) -> Path:
    """Write the winner of a study to `target`, to be chosen with `experiment=<name of the file>`.

    Args:
        name: of the study's record, or the beginning of it where that is enough.
        groups: names of the config groups; any other key of the winner is a value.

    Raises:
        AugeanError: when there is no such study, it still goes on, or `target` exists.
    """
    records, problems = read_records(outputs)
    studies = {record.name: record for record in records if record.kind == "study"}
    things = f"studies in {outputs}"
    record = studies[choose_by_name(name, list(studies), things, remarks=problems)]
    if not record.winner:
        command = command_in(record.command, outputs)
        raise AugeanError(f"{record.name}: has no winner yet; to go on: {command}")
    if target.exists():
        raise AugeanError(f"{target}: exists; remove it, or name another file with --to")
    content = _header(record) + _body(record, groups)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(
            f"{target}: cannot make its folder ({error.strerror}); name another file with --to"
        ) from error
    # The name of a record's file may hold bytes that are not UTF-8.
    write_atomic(target, content.encode(errors="replace"))
    return target


def _header(record: SweepRecord) -> str:
    """Return comments that say where the values come from."""
    best = record.best_trial()
    if best is None or best.score is None:
        raise AugeanError(
            f"{record.name}: its record has a winner and no trial of it; to have it written anew:"
            f" {record.command}"
        )
    trial = f"trial {best.trial} of {record.num_trials}"
    lines = [
        "# @package _global_",
        f"# Winner of study {record.name}: {trial}, run {best.id},",
        f"# validation accuracy {record.describe_best()} ({record.title}).",
        f"# Made by: {record.command}",
    ]
    for key, text in record.space.items():
        lines.append(f"#   {key}: {text}")
    # A record may come from a stranger: `split` takes out line breaks, which could add keys.
    return "".join(" ".join(line.split()) + "\n" for line in lines)


def _body(record: SweepRecord, groups: set[str]) -> str:
    """Return the winner as a config: choices of groups as its defaults, all else as values.

    Raises:
        AugeanError: for what an experiment file cannot say.
    """
    # The setting is a list of overrides. In a file, a choice of a group stands among the defaults,
    # and any other key in the body. The seed is left to the next sweep.
    experiment = record.experiment
    choices = {group: option for group, option in record.choices.items() if group in groups}
    values = []
    for item in record.setting:
        key = override_key(item)
        if item.startswith("~") or "@" in key:
            raise AugeanError(
                f"{record.name}: {item} cannot be written into an experiment; give it on the"
                " command line"
            )
        text = item.partition("=")[2]
        if key == "experiment":
            experiment = text
        elif key in groups:
            choices[key] = text
        elif key != "seed":
            values.append(item)
    # The study's own experiment comes first, so that the choices replace its own; `_self_`
    # comes last, so that the winner's values do.
    defaults: list[object] = [experiment] if experiment else []
    defaults += [{f"override /{key}": text} for key, text in choices.items()]
    body = OmegaConf.create({"defaults": [*defaults, "_self_"]})
    try:
        winner_values = read_values(values)
    except HydraException as error:
        raise AugeanError(
            f"{record.name}: its winner is not made of overrides ({error}); to have the record"
            f" written anew: {record.command}"
        ) from error
    for key, value in winner_values:
        OmegaConf.update(body, key, value, merge=True)
    return OmegaConf.to_yaml(body)
