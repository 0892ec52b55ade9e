"""Jobs that share their choices of files have the configs that Hydra composes for each alone."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from augean.config.schema import Config
from augean.sweeps.composition import Composition, compose_sweep
from augean.sweeps.plan import plan_file

LINES = (
    "seed=1",
    "seed=2",
    "optimizer.lr=0.3",
    "optimizer.momentum=null",
    "optimizer.momentum=0.5",
    "optimizer=adam",
    "activation=elu",
    "trainer.epochs=2",
    "trainer.precision=fp32",
    "dataset.num_val=null",
    "dataset.num_val=10",
    "dataset.crop_padding=2",  # to which augmentation.crop_padding points
    "augmentation.crop_padding=1",
    "augmentation=none",
    "dataset.mean=[0.1,0.2,0.3]",
    "runtime.threads=1",
    "runtime.dataset_title='a, b'",
    "+model.arguments.extra=3",
    "optimizer.arguments={nesterov:true}",
    "regularization.weight_decay=${optimizer.lr}",
)
WRONG = ("trainer.epochs=0", "trainer.epochs=x", "nothing.here=1", "optimizer.lr=-1", "seed=0,1")


@pytest.fixture
def composition(tmp_path: Path) -> Iterator[Composition]:
    with compose_sweep("table1_activation", [f"runtime.outputs={tmp_path}"]) as made:
        yield made


def compose_or_refuse(composition: Composition, point: list[str]) -> Config | str:
    """Return the config, or the kind of the error."""
    try:
        return composition.compose(point)
    except Exception as error:
        return type(error).__name__


def test_any_order_of_jobs_gives_the_configs_of_each_alone(composition: Composition) -> None:
    generator = random.Random(0)
    for _ in range(60):
        point = generator.sample(LINES, generator.randint(0, 4))
        if generator.random() < 0.2:
            point.append(generator.choice(WRONG))
        alone = Composition(loader=composition.loader, master=composition.master)
        assert compose_or_refuse(composition, point) == compose_or_refuse(alone, point), point


def test_a_job_after_a_refused_one_is_not_touched_by_it(composition: Composition) -> None:
    before = composition.compose(["seed=1"])
    for wrong in WRONG:
        assert isinstance(compose_or_refuse(composition, ["optimizer.lr=0.7", wrong]), str)
        assert composition.compose(["seed=1"]) == before


def test_configs_of_jobs_share_nothing(composition: Composition) -> None:
    first = composition.compose(["seed=1"])
    first.dataset.mean.append(0.0)
    first.runtime.outputs = "elsewhere"
    second = composition.compose(["seed=2"])
    assert len(second.dataset.mean) == 3
    assert second.runtime.outputs != "elsewhere"


def test_planning_costs_the_same_for_each_job_of_a_larger_grid(tmp_path: Path) -> None:
    words = ["dataset=synthetic", "dataset.num_val=40", f"runtime.outputs={tmp_path}"]

    def seconds_per_job(num_seeds: int) -> float:
        start = time.process_time()
        plan = plan_file("table1_activation", [*words, f"seed=range(0,{num_seeds})"])
        return (time.process_time() - start) / len(plan.jobs)

    seconds_per_job(1)
    small = seconds_per_job(20)
    # Per job less than in the small grid, which bears the start of the command; not more.
    assert seconds_per_job(100) < 1.3 * small
