"""Train one run into its directory: load, build, resume, fit, select, test, write."""

import importlib.metadata
import logging
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from augean.config.run_id import CORE, code_digests
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.datasets.base import Source
from augean.datasets.split import check_last_batch
from augean.errors import ConfigError, Pruned
from augean.models.pretrained import load_state
from augean.signals import Interrupted, StopSignals
from augean.store.run_directory import write_metrics
from augean.store.run_prefix import RunPrefix
from augean.store.summary import Continuation, Divergence, RunState, RunSummary
from augean.store.weights_file import WeightsFile
from augean.terminal import counted
from augean.training.artifacts import (
    logging_to,
    train_log,
    write_confusion,
    write_correct,
    write_model,
    write_probes,
    write_state,
    write_step_losses,
    write_weights,
)
from augean.training.build import TrainingContext, build_context, check_classes
from augean.training.checkpoint import ResumableRun
from augean.training.data import load_data
from augean.training.device import (
    device_title,
    find_device,
    instruction_set,
    precision_hint,
    torch_settings,
)
from augean.training.loggers import Loggers
from augean.training.loop import evaluate_final, fit
from augean.training.loss_landscape import ProbeRow
from augean.training.model_summary import describe_model
from augean.training.progress import ProgressDisplay, ProgressFile
from augean.training.provenance import git_commit, library_versions
from augean.training.results import DivergedError, EpochResult, Score

logger = logging.getLogger(__name__)

ShouldStop = Callable[[int, float | None], bool]
"""Asked after each epoch, with its number and validation accuracy, whether to prune the run."""


class Trainer:
    """One run's training in one process.

    It goes from the newest checkpoint, or from nothing, to the scores or to the next checkpoint.
    """

    def __init__(
        self,
        config: Config,
        source: Source,
        path: Path,
        run_id: str,
        prefixes: Sequence[RunPrefix] = (),
        weights: WeightsFile | None = None,
    ) -> None:
        """Load the data and build the network; what cannot be trained is refused here.

        Args:
            path: the run's directory, which need not exist yet.
            run_id: the run's id.
            prefixes: shorter trainings of the same config, the longest first. The run may begin
                where one of them ended.
            weights: the file that `model.weights` names; None for random weights.

        Raises:
            AugeanError: for whatever the user can mend.
        """
        self.config = config
        self.path = path
        self.run_id = run_id
        check_classes(config)  # before data is downloaded
        # Read now: the files may be edited while the run trains with what was loaded.
        self.code_digests = code_digests(config)
        self.git_commit = git_commit()
        self.prefixes = prefixes
        self.data_digest = source.digest()
        self.device = find_device(config.runtime.device)
        node = config.dataset
        data_on = config.runtime.data_on
        assert node.num_val is not None  # see `augean.runs.address.fill_open_values`
        self.data = load_data(
            source, node.num_val, node.num_train, node.split_seed, self.device, data_on
        )
        check_last_batch(config.trainer.batch_size, len(self.data.train))
        self.description = describe_model(config, len(self.data.classes))
        self.weights = weights
        self.context = build_context(config, self.data, self.device, weights)
        _check_probes(config, self.context.schedule.num_steps)
        _check_dampening(self.context)
        self.run = ResumableRun(path, run_id, self.context)
        self.diverged: Divergence | None = None

    def train(
        self, stop: StopSignals, loggers: Loggers, should_stop: ShouldStop | None
    ) -> RunSummary:
        """Resume or begin, train to the end, test, and write all files of the run but its summary.

        Returns:
            The summary; `RunSession.complete` adds what the training does not know, such as the
            host.

        Raises:
            Interrupted: after a stop signal, with a checkpoint written unless the grace time ended.
            Pruned: when `should_stop` said so, with a checkpoint written.
            AugeanError: for whatever the user can mend.
        """
        threads_before = torch.get_num_threads()
        with logging_to(self.path / "train.log"):
            write_model(self.path, self.description)
            try:
                self.run.resume()
                if self.run.last_epoch == 0:
                    self._begin(loggers, should_stop)
                self.fit(stop, loggers, should_stop)
                # Only the test is left, which takes seconds: a stop signal now waits for its end.
                stop.disarm()
                return self.finish(loggers)
            except Interrupted:
                train_log.info(
                    "stopped by signal %s after epoch %d", stop.signal, self.run.last_epoch
                )
                raise
            finally:
                # A checkpoint may have set the number of threads; the next run of this process
                # is to have its own.
                torch.set_num_threads(threads_before)

    def _begin(self, loggers: Loggers, should_stop: ShouldStop | None) -> None:
        """Begin at the state of a shorter training where there is one, with its history.

        Raises:
            Pruned: when `should_stop` said so of an epoch that was trained there.
        """
        self.run.begin(self.prefixes)
        # Loggers and pruner see the epochs of the shorter training as if they were trained here.
        for row in self.run.history.rows:
            loggers.log(row)
            if should_stop is not None and should_stop(row["epoch"], row["val_accuracy"]):
                self.run.save()
                raise Pruned(f"pruned after epoch {row['epoch']}")

    def fit(self, stop: StopSignals, loggers: Loggers, should_stop: ShouldStop | None) -> None:
        """Train to the last epoch or to divergence, with checkpoints on the way.

        Raises:
            Interrupted: after a stop signal, with a checkpoint.
            Pruned: when `should_stop` said so, with a checkpoint.
        """
        torch.set_num_threads(self.run.threads)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._announce()
        # Two trackers wrap the steps of each epoch: one for people, one for `augean status`.
        first_epoch = self.run.last_epoch + 1
        on_cpu = self.device.type == "cpu"
        display = ProgressDisplay(self.config, self.run_id, on_cpu=on_cpu, first_epoch=first_epoch)
        progress_file = ProgressFile(
            self.path,
            epochs=self.config.trainer.epochs,
            num_steps=self.context.schedule.num_steps,
            first_epoch=first_epoch,
        )

        def track(steps: Iterable[int]) -> Iterable[int]:
            return progress_file.track(display.track(steps))

        try:
            for result in fit(self.context, first_epoch=first_epoch, track=track):
                self._end_epoch(result, loggers)
                progress_file.end_epoch(result)
                display.show(result)
                if should_stop is not None and should_stop(result.epoch, result.val_accuracy):
                    self.run.save()
                    raise Pruned(f"pruned after epoch {result.epoch}")
                # After the last epoch the run is finished sooner than it could be resumed.
                if stop.signal is not None and result.epoch < self.config.trainer.epochs:
                    self.run.save()
                    raise Interrupted
                self.run.save_if_due()
        except DivergedError as error:
            # A result, not a failure: the run ends with what it has measured.
            self.diverged = Divergence(
                epoch=error.epoch, step=error.step, last_loss=error.last_loss
            )
            self._keep_steps(error.step_losses, error.probes)
            train_log.info(str(error))
        finally:
            display.close()

    def _announce(self) -> None:
        """Log where the run trains, and say where another precision would be faster."""
        precision = self.config.trainer.precision
        title = device_title(self.device)
        train_log.info("started on %s, %s, %d threads", title, precision, self.run.threads)
        if self.data.is_on_host:
            train_log.info("images stay on the host; batches are copied ahead")
        if self.context.remark and self.run.last_epoch == 0:
            train_log.info(self.context.remark)
            logger.info(f"Run {self.run_id}: {self.context.remark}")
        hint = precision_hint(precision, self.device)
        if hint is not None:
            train_log.info(hint)
            if self.config.runtime.progress != "none":
                logger.warning(hint)

    def _end_epoch(self, result: EpochResult, loggers: Loggers) -> None:
        """Add an epoch to the run's history, and write its line of metrics.csv and train.log."""
        self.run.history.add_epoch(result, self.context.network)
        self._keep_steps(result.step_losses, result.probes)
        write_metrics(self.path, self.run.history.rows)
        row = self.run.history.rows[-1]
        loggers.log(row)
        train_log.info(" ".join(f"{name}={value}" for name, value in row.items()))

    def _keep_steps(self, step_losses: list[float], probes: list[ProbeRow]) -> None:
        """Keep what `config.record` asks for until the run ends, in checkpoints too."""
        if self.config.record.step_loss:
            self.run.history.step_losses.extend(step_losses)
        self.run.history.probes.extend(probes)

    def _test(self) -> Score | None:
        """Read the test set, once, with the selected weights, and write what belongs to them.

        Returns:
            None where the loss is NaN or infinite: then the run diverged. Without a validation
            split nothing shows before the test that the last step ruined the weights.
        """
        network = self.context.network
        # Empty without a validation split: then the last epoch's weights are tested.
        if self.run.history.best_weights:
            load_state(network, self.run.history.best_weights)
        score = evaluate_final(network, self.data.test, self.config)
        if not math.isfinite(score.loss):
            last = self.run.history.rows[-1]
            self.diverged = Divergence(epoch=last["epoch"], last_loss=last["train_loss"])
            return None
        write_weights(self.path, network.state_dict())
        write_confusion(self.path, self.data.classes, score.confusion)
        write_correct(self.path, score.correct)
        return score

    def finish(self, loggers: Loggers) -> RunSummary:
        """Test, and write everything that a finished or diverged run has, except its summary."""
        if self.config.runtime.keep_state:
            write_state(self.path, self.run.encode())
        score = None if self.diverged else self._test()
        write_metrics(self.path, self.run.history.rows)
        if self.config.record.step_loss:
            write_step_losses(self.path, self.run.history.step_losses)
        if self.run.history.probes:
            write_probes(self.path, self.run.history.probes)
        if score is not None:
            last_epoch = self.run.last_epoch
            scores = {"test_accuracy": score.accuracy, "test_loss": score.loss}
            loggers.log({"epoch": last_epoch, **scores})
        return self._summary(score)

    def _summary(self, score: Score | None) -> RunSummary:
        config = self.config
        data = self.data
        history = self.run.history
        # Line of metrics.csv whose weights were tested; empty if the first epoch diverged.
        selected_row: dict[str, Any] = {}
        if history.best_epoch:
            selected_row = history.rows[history.best_epoch - 1]
        speeds = [row["images_per_second"] for row in history.rows]
        peak_memory = None
        if self.device.type == "cuda":
            peak_memory = torch.cuda.max_memory_allocated(self.device) / 1e6
        torch_versions = {
            "torch": str(torch.__version__),
            "torchvision": importlib.metadata.version("torchvision"),
        }
        return RunSummary(
            core=CORE,
            id=self.run_id,
            status=RunState.DIVERGED if self.diverged else RunState.FINISHED,
            diverged=self.diverged,
            config=flatten_config(config),
            dataset_title=config.runtime.dataset_title or config.dataset.name,
            num_train=len(data.train),
            num_val=len(data.val) if data.val else 0,
            num_test=len(data.test),
            epochs=self.run.last_epoch,
            selected_epoch=history.best_epoch,
            val_accuracy=selected_row.get("val_accuracy"),
            val_loss=selected_row.get("val_loss"),
            train_accuracy=selected_row.get("train_accuracy"),
            test_accuracy=score.accuracy if score else None,
            test_loss=score.loss if score else None,
            # Wall time of all sessions, then the training alone.
            seconds=self.run.seconds,
            train_seconds=sum(row["seconds"] for row in history.rows),
            images_per_second=statistics.median(speeds) if speeds else 0.0,
            peak_memory_mb=peak_memory,
            parameters=self.description["parameters"],
            device=device_title(self.device),
            precision=config.trainer.precision,
            threads=self.run.threads,
            instruction_set=instruction_set(self.device),
            torch_settings=torch_settings(self.device, config.runtime),
            dead_units=score.dead_units if score else None,
            data_digest=self.data_digest,
            weights_digest=self.weights.digest if self.weights else None,
            code_digests=self.code_digests,
            versions=library_versions() | torch_versions,
            git_commit=self.git_commit,
            started=history.started,
            num_resumes=history.num_resumes,
            continued=Continuation(**history.continued) if history.continued else None,
            note=history.note,
        )


def _check_dampening(context: TrainingContext) -> None:
    """Refuse dampening where the momentum begins at zero, see `begin_momentum`."""
    if not context.scaler.is_enabled():
        return
    for group in context.optimizer.param_groups:
        dampening = group.get("dampening")
        if group.get("fused") and group.get("momentum") and dampening:
            raise ConfigError(
                f"optimizer.arguments.dampening={dampening}: cannot be used with"
                " trainer.precision=fp16 in fused SGD, whose first step would be too small; set"
                " ++optimizer.arguments.fused=false, or choose another precision"
            )


def _check_probes(config: Config, num_steps: int) -> None:
    """Refuse an interval in which the run would have no probe but that of its first step."""
    probe_every = config.record.probe_every
    if probe_every > num_steps:
        steps = counted(num_steps, "step")
        raise ConfigError(
            f"record.probe_every={probe_every}: the run has only {steps}; probe more often, for"
            f" example record.probe_every={max(1, num_steps // 50)}"
        )
