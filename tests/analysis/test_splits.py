"""All seeds share one validation split, or each draws its own: the caption says which."""

from pathlib import Path

import pytest

from augean.analysis.comparison import summarise
from augean.analysis.load import scan
from augean.report import make_report
from commands import train

SMALL = (
    "experiment=demo", "width=w8", "trainer.epochs=1", "dataset.num_train=64",
    "dataset.num_val=100", "runtime.threads=1", "runtime.progress=none",
)  # fmt: skip


@pytest.mark.parametrize(
    ("split", "num_splits", "words"),
    [
        ((), 1, "; one validation split."),
        (("dataset.split_seed=${seed}",), 2, "; 2 validation splits."),
    ],
    ids=["one", "one a seed"],
)
def test_seeds_share_a_split_or_draw_their_own_and_the_caption_says_which(
    tmp_path: Path, split: tuple[str, ...], num_splits: int, words: str
) -> None:
    done = train("-m", *SMALL, "seed=0,1", *split, f"runtime.outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    table = summarise(scan(tmp_path).sweeps[0])
    assert table.rows[0].accuracy.n == 2
    assert table.num_splits == num_splits
    assert len({run.id for run in table.runs}) == 2
    page = make_report(tmp_path).directory / "report.md"
    assert words in page.read_text()
