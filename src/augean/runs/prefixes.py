"""Find the runs that are the beginning of a longer one: the same config with fewer epochs."""

import glob
from dataclasses import replace

from augean.config.run_id import run_id
from augean.config.schema import LENGTH_FREE_SCHEDULES, Config
from augean.datasets.base import Source
from augean.runs.address import RunAddress
from augean.store.run_prefix import RunPrefix
from augean.store.weights_file import WeightsFile


def find_prefixes(
    config: Config, address: RunAddress, source: Source, weights: WeightsFile | None
) -> list[RunPrefix]:
    """Return the shorter trainings of a config that have a directory, the longest first.

    With a schedule that stretches with the number of epochs there are none.

    Args:
        address: the run's own.
        source: the data set of the config.
        weights: those that the run begins from; a training from others is another one.
    """
    if config.schedule.name not in LENGTH_FREE_SCHEDULES:
        return []
    folder = address.path.parent
    readable_part = address.path.name.removesuffix(address.id)
    names = {path.name for path in folder.glob(f"{glob.escape(readable_part)}*")}
    names.discard(address.path.name)
    # Most runs differ from all others in more than their length: then no id need be computed.
    if not names:
        return []
    data_digest = source.digest()
    weights_digest = weights.digest if weights else None
    prefixes = []
    for epochs in range(config.trainer.epochs - 1, 0, -1):
        shorter = replace(config, trainer=replace(config.trainer, epochs=epochs))
        shorter_id = run_id(shorter, data_digest, weights=weights_digest)
        name = f"{readable_part}{shorter_id}"
        if name in names:
            prefixes.append(RunPrefix(id=shorter_id, path=folder / name, epochs=epochs))
    return prefixes
