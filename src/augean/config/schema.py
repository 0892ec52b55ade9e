"""The typed schema of a run's config.

Everything outside the node `runtime` changes the mathematics of a run or what it records, so it is
part of the run's address; nothing under `runtime` is. A field's default here is *neutral*: it is
dropped before hashing, so a new field with a neutral default changes no existing id. Neutral
defaults therefore never change.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING as REQUIRED

TRUSTED_PACKAGES = ("torch", "torchvision", "augean")
"""Their classes are named by version or by `CORE`; code from elsewhere enters the run id as a
digest of its source."""


def bounded(
    default: Any, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> Any:
    """A number field with `low <= value <= high` and `above < value`."""
    return field(default=default, metadata={"low": low, "high": high, "above": above})


def one_of(default: Any, *choices: str) -> Any:
    """A string field with a fixed set of values."""
    return field(default=default, metadata={"choices": choices})


def label_name(default: str = REQUIRED) -> Any:
    """A string field that becomes part of a directory name."""
    return field(default=default, metadata={"pattern": r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"})


@dataclass
class ModelConfig:
    """A network: called with `num_classes, activation, channels, dropout` and `arguments`."""

    name: str = label_name()
    _target_: str = REQUIRED
    stem: str | None = one_of(None, "cifar", "imagenet")
    """ResNets only: 3x3 stride 1 without pooling, or 7x7 stride 2 with max-pooling."""
    init: str = one_of("default", "default", "xavier_normal")
    """default: PyTorch's; xavier_normal: weights of convolutions and linear layers, with biases
    0."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class."""


@dataclass
class ActivationConfig:
    """The activation that stands wherever the original network has a ReLU."""

    name: str = label_name()
    _target_: str = REQUIRED
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimizerConfig:
    """An optimizer class; weight decay comes from `regularization.weight_decay` alone."""

    name: str = label_name()
    _target_: str = REQUIRED
    lr: float = bounded(REQUIRED, above=0)
    """Initial learning rate."""
    momentum: float | None = bounded(None, low=0, high=1)
    """For classes that take `momentum`; null leaves the class's own default."""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class RegularizationConfig:
    weight_decay: float = bounded(0.0, low=0)
    """The optimizer's `weight_decay`: on every parameter, batch norm and biases included."""
    label_smoothing: float = bounded(0.0, low=0, high=1)
    dropout: float = bounded(0.0, low=0, high=0.99)
    """Probability, before the last linear layers."""
    cutout: int = bounded(0, low=0)
    """Side in pixels of the square that is erased (DeVries and Taylor 2017)."""
    mixup: float = bounded(0.0, low=0)
    """Alpha of the Beta distribution (Zhang et al. 2018)."""


@dataclass
class WidthConfig:
    channels: int = bounded(REQUIRED, low=1)
    """C: channels of the first stage; the later stages have 2C, 4C, 8C."""


@dataclass
class AugmentationConfig:
    crop_padding: int = bounded(0, low=0)
    """Pixels of zero padding before a random crop of the original size."""
    flip: bool = False
    """Horizontal flip with probability 1/2."""


@dataclass
class ScheduleConfig:
    name: str = one_of(REQUIRED, "constant", "plateau", "cosine", "onecycle")
    factor: float = bounded(0.5, above=0, high=0.999)
    """plateau: the learning rate is multiplied by this."""
    patience: int = bounded(9, low=0)
    """plateau: epochs without a new minimum of the validation loss that are let pass."""
    threshold: float = bounded(0.0, low=0, high=1)
    """plateau: relative improvement that counts as a new minimum."""
    warmup: float = bounded(0.0, low=0, high=0.99)
    """cosine, onecycle: share of all steps in which the rate rises."""


@dataclass
class DatasetConfig:
    """A data set class: constructed with `name, root, image_size` and `arguments`."""

    name: str = label_name()
    _target_: str = REQUIRED
    num_train: int | None = bounded(None, low=1)
    """Training images kept after the validation split (stratified); null keeps all."""
    num_val: int = bounded(5000, low=0)
    """Images held out of the training set, stratified by class; 0 trains on everything and takes
    the last epoch."""
    split_seed: int = bounded(0, low=0)
    """Of the split alone, so that all seeds share it."""
    image_size: int = bounded(32, low=8, high=512)
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    crop_padding: int = bounded(4, low=0)
    """What `augmentation=standard` pads on these images."""
    flip: bool = True
    """Whether `augmentation=standard` flips these images."""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainerConfig:
    epochs: int = bounded(35, low=1)
    batch_size: int = bounded(128, low=2)
    precision: str = one_of("bf16", "bf16", "fp16", "fp32")
    """Of the matrix products; weights are kept in fp32 throughout."""
    deterministic: bool = False
    """Deterministic kernels only."""
    reset_optimizer: str = one_of("never", "never", "epoch")
    """epoch: momentum and moments start anew each epoch."""


@dataclass
class RecordConfig:
    """What a run records beyond one row an epoch."""

    step_loss: bool = False
    """`steps.npy`: the training loss of every step."""
    probe_every: int = bounded(0, low=0)
    """`probe.csv`: the loss landscape along the gradient, every so many steps (see
    augean.landscape); 0 is never."""
    probe_range: list[float] = field(default_factory=lambda: [0.5, 4.0])
    """Smallest and largest step along the gradient, as multiples of the step's learning rate."""
    probe_points: int = bounded(8, low=2, high=100)
    """Steps in that range, evenly spaced on a logarithmic scale."""


@dataclass
class TableConfig:
    """The table that a sweep fills (see sweeps/)."""

    title: str | None = None
    figure: str | None = None
    """Name of the figure in the reference report, such as "Figure 2"."""
    row: str | None = None
    """Dotted key whose value is the row, such as activation.name; several, with commas between, for
    a joint label."""
    band: str | None = None
    """Dotted key: runs that agree in it form one band of step losses, between their smallest and
    largest."""
    baseline: str | None = None
    """The row that the others are compared with."""
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per row the published numbers: test_accuracy in percent, seconds."""
    note: str | None = None
    """A sentence for the caption."""


@dataclass
class LauncherConfig:
    """Where the runs of a sweep are executed; all but the name is for clusters
    (docs/clusters.md).
    """

    name: str = one_of("local", "local", "slurm", "ray")
    cpus: int = bounded(1, low=1)
    """CPU cores of one run."""
    gpus: float = bounded(0.0, low=0)
    """GPUs of one run; Ray takes fractions, so that several runs share one."""
    memory_gb: float | None = bounded(None, above=0)
    minutes: int = bounded(240, low=1)
    """SLURM: time limit; a run that needs more is requeued and goes on from its checkpoint."""
    partition: str | None = None
    account: str | None = None
    max_parallel: int | None = bounded(None, low=1)
    """SLURM: runs of one array at a time."""
    max_requeues: int = bounded(100, low=0)
    """SLURM: starts of one run after the first, for an epoch that is longer than the time limit
    never ends."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Further options of sbatch."""


@dataclass
class RuntimeConfig:
    """Where and how a run is executed; never part of its address."""

    outputs: str = "outputs"
    data: str = "data"
    """Folder of the data sets."""
    cache: str | None = None
    """Folder for decoded images; null: `.augean` inside `runtime.data`."""
    dataset_title: str | None = None
    """What tables call the data set; null: its name."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:<n> or mps."""
    threads: int | None = bounded(None, low=1)
    """CPU threads; null: all cores, shared out among the workers."""
    workers: int = bounded(1, low=1, high=256)
    """Processes that work on a sweep together; CUDA devices are dealt out."""
    compile: bool = False
    """torch.compile the network for training steps of full batches."""
    cuda_graph: bool = True
    """On CUDA, record a training step once and replay it."""
    checkpoint_seconds: float = bounded(30.0, low=0)
    """Least time between two checkpoints."""
    grace_seconds: float = bounded(25.0, low=0)
    """After a stop signal an epoch may end within this time, else it is abandoned."""
    progress: str = one_of("auto", "auto", "bar", "plain", "none")
    """auto: a bar on a terminal, else a plain line per epoch."""
    allowed_packages: list[str] = field(default_factory=list)
    """Packages whose classes a `_target_` may name, beside torch, torchvision and augean."""
    loggers: list[str] = field(default_factory=list, metadata={"choices": ("tensorboard", "wandb")})
    """Where the numbers of an epoch go too, see augean.loggers."""
    table: TableConfig = field(default_factory=TableConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)


@dataclass
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    activation: ActivationConfig = field(default_factory=ActivationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    width: WidthConfig = field(default_factory=WidthConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    seed: int = bounded(0, low=0, high=2**31 - 1)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
