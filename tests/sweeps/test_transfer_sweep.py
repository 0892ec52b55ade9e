"""`sweeps/transfer.yaml`: its rows begin as they say, from weights that are made here.

That the table of docs/how-to/transfer.md decides "pretraining helps" is checked by that page's own
code in tests/test_docs.py.
"""

from collections.abc import Callable
from pathlib import Path

from augean.config.schema import Config
from augean.runs.execute import execute
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary
from augean.store.sweep_record import read_records
from commands import augean
from conftest import TINY


def test_the_rows_of_the_transfer_sweep_begin_as_they_say(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    pretrained = execute(tiny("activation=relu", "trainer.epochs=1"))
    done = augean(
        "train", "-cn", "transfer", *TINY, "seed=0", "trainer.epochs=1", "model=resnet18",
        "activation=relu", "width=w8", "dataset.transforms=own", "augmentation=none",
        f"model.weights=run:{pretrained.address.id}", f"runtime.outputs={outputs}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records, _ = read_records(outputs)
    (record,) = [record for record in records if record.name.startswith("transfer")]
    starts = {}
    for job in record.jobs:
        summary = read_summary(runs_dir(outputs) / job.run)
        assert summary is not None
        way, rate = job.row.split(", ")
        assert summary.config["optimizer.lr"] == float(rate)
        is_pretrained = summary.weights_digest is not None
        starts[way] = (is_pretrained, summary.config["trainer.freeze"])
    assert starts == {
        "scratch": (False, "none"),
        "frozen": (True, "backbone"),
        "fine-tuned": (True, "none"),
    }
    assert len(record.jobs) == 6
