"""Draft a sweep's record from its config and the launch, before any job is composed."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from augean.config.labels import given_label
from augean.config.schema import Config
from augean.store.record_identity import identifying_overrides, record_name
from augean.store.sweep_record import SweepRecord
from augean.sweeps.composition import Composition
from augean.sweeps.points import describe_budget, table_keys
from augean.sweeps.workers import command_line


class RecordDraft:
    """What a sweep's record says of the launch, before any job is composed."""

    def __init__(
        self, composition: Composition, arguments: Sequence[str], axes: Sequence[str]
    ) -> None:
        self.master = composition.master
        self.axes = axes
        self.overrides = identifying_overrides([*arguments, *self.master.hydra.overrides.hydra])
        # `++seed=0,1` asks for the same runs as `seed=0,1`.
        identity = [item.lstrip("+") for item in self.overrides]
        digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()
        self.suffix = f"--{digest[:8]}" if self.overrides else ""
        """Ends the record's name, so that other overrides have another record."""

    @property
    def choices(self) -> dict[str, str]:
        """The option that the sweep file chooses of each group, those of execution left out."""
        chosen = {}
        for group, option in self.master.hydra.runtime.choices.items():
            is_of_run = "/" not in group and group not in ("experiment", "launcher")
            if is_of_run and isinstance(option, str):
                chosen[str(group)] = option
        return chosen

    def make(
        self, config: Config, studies: Sequence[SweepRecord] = (), name: str | None = None
    ) -> SweepRecord:
        """Return the record without jobs.

        Args:
            config: of any job.
            studies: whose winners are rows.
            name: in place of the one that is made of the sweep file and the overrides.
        """
        table = config.runtime.table
        budgets = [describe_budget(study) for study in studies]
        notes = [table.note, *budgets]
        winners = {}
        for study in studies:
            best = study.best_trial()
            if best is not None:
                winners[study.name] = best.id
        reference = {given_label(row): dict(item) for row, item in table.reference.items()}
        return SweepRecord(
            name=name or self._name(),
            title=table.title or self._title(),
            figure=table.figure,
            note=" ".join(note for note in notes if note) or None,
            command=command_line(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            experiment=self.master.hydra.runtime.choices.get("experiment"),
            choices=self.choices,
            overrides=self.overrides,
            studies=[study.name for study in studies],
            winners=winners,
            row_keys=table_keys(table),
            column=table.column,
            band=table.band,
            baseline=table.baseline,
            reference=reference,
            reference_dataset=table.reference_dataset,
            jobs=[],
        )

    def _name(self) -> str:
        name = str(self.master.hydra.job.config_name)
        if name == "config":  # not a sweep file
            keys = [key for key in self.axes if key != "seed"]
            name = "+".join(keys) or "runs"
        return record_name(name, self.suffix)

    def _title(self) -> str:
        if not self.axes:
            return "Runs"
        keys = [key for key in self.axes if key != "seed"]
        return f"Sweep of {', '.join(keys) or 'seed'}"
