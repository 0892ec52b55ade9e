"""Write a study's winner as an experiment file, so that the next sweep can start from it."""

from pathlib import Path

from omegaconf import OmegaConf

from augean.errors import AugeanError
from augean.store.files import write_atomic
from augean.store.sweep_record import read_records
from augean.suggestions import list_choices


def promote(outputs: Path, name: str, groups: set[str], target: Path) -> Path:
    """Write the winner of a study to `target`, which `experiment=<its name>` then means.

    Args:
        name: of the study's record, or the beginning of it where that is enough.
        groups: names of the config groups; any other key of the winner is a value.

    Raises:
        AugeanError: when there is no such study, it is not over, or `target` exists.
    """
    studies = [record for record in read_records(outputs)[0] if record.kind == "study"]
    found = [record for record in studies if record.name.startswith(name)]
    exact = [record for record in found if record.name == name]
    if len(exact or found) != 1:
        names = list_choices(name, [record.name for record in found or studies], "")
        raise AugeanError(
            f"{name}: names {'several studies' if found else 'no study'} in {outputs}{names}"
        )
    record = (exact or found)[0]
    if not record.winner:
        raise AugeanError(f"{record.name}: is not over yet; to go on: {record.command}")
    if target.exists():
        raise AugeanError(f"{target}: exists; remove it, or name another file with --to")
    best = max(
        (job for job in record.jobs if job.score is not None),
        key=lambda job: (job.score, -(job.trial or 0)),
    )
    defaults: list[object] = [record.experiment] if record.experiment else []
    values = []
    for item in record.setting:
        key, _, text = item.lstrip("+").partition("=")
        if key == "experiment":
            defaults[:1] = [text]
        elif key in groups:
            defaults.append({f"override /{key}": text})
        elif key != "seed":
            values.append(f"{key}={text}")
    header = [
        "# @package _global_",
        (
            f"# Winner of study {record.name}: trial {best.trial} of {record.num_trials}, run"
            f" {best.id},"
        ),
        f"# validation accuracy {best.score:.2%} ({record.title}). Made by: {record.command}",
        *(f"#   {key}: {text}" for key, text in record.space.items()),
    ]
    # A record may come from anyone: a line break in its title is not to become a line of the file.
    header = [" ".join(line.split()) for line in header]
    body = OmegaConf.merge({"defaults": [*defaults, "_self_"]}, OmegaConf.from_dotlist(values))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, "\n".join(header) + "\n" + OmegaConf.to_yaml(body))
    return target
