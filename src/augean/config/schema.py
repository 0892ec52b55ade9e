"""The typed schema of a run's config.

Everything outside the node `runtime` changes the mathematics of a run or what it records, so it is
part of the run's address; nothing under `runtime` is. A field's default here is *neutral*: it is
dropped before hashing, so a new field with a neutral default changes no existing id. Neutral
defaults therefore never change.

Which values are valid: OmegaConf checks the types, `Literal` choices included, and
`augean.config.validation` the bounds and the rules between keys.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from omegaconf import MISSING as REQUIRED

TRUSTED_PACKAGES = ("torch", "torchvision", "augean")
"""Packages whose classes a config may always name. Their code is identified by its version or by
`CORE`; code from elsewhere enters the run id as a digest of its source."""

MAX_DEFAULT_VAL = 5000
"""Images that are held out for validation where `dataset.num_val` is not given and the data set is
large enough."""

CLASS_NODES = ("model", "activation", "optimizer", "dataset")
"""Nodes that name a class in `_target_` and its keyword arguments in `arguments`."""


def bounded(
    default: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    neutral: Any = None,
) -> Any:
    """Return a number field with `low <= value <= high` and `above < value`.

    Args:
        neutral: the value that is dropped before hashing, where it is not the default.
    """
    # `augean.config.validation` reads the bounds, `augean.config.run_id` the neutral value.
    metadata: dict[str, Any] = {"low": low, "high": high, "above": above}
    if neutral is not None:
        metadata["neutral"] = neutral
    return field(default=default, metadata=metadata)


def directory_part() -> Any:
    """Return a text field that becomes part of a directory's name."""
    # No slash, and no dot or hyphen first: the name can neither leave the folder nor be hidden.
    return field(default=REQUIRED, metadata={"pattern": r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"})


@dataclass
class ModelConfig:
    """A network: called with `num_classes, activation, channels, dropout` and `arguments`."""

    name: str = directory_part()
    """Name in tables and directories; it does not choose the class."""
    _target_: str = REQUIRED
    """Dotted name of the class, a `torch.nn.Module`."""
    stem: Literal["cifar", "imagenet"] | None = None
    """ResNets only. cifar: 3x3 with stride 1 and no pooling; imagenet: 7x7 with stride 2 and
    max-pooling; null leaves the class's own default."""
    init: Literal["default", "xavier_normal"] = "default"
    """default: PyTorch's own for each layer; xavier_normal: for the weights of convolutions and
    linear layers, with their biases at 0."""
    weights: str | None = field(default=None, metadata={"by_content": True})
    """Weights that the training begins from: a file with a state dict; `run:<id>`, the selected
    weights of another run; or a name of torchvision's, such as DEFAULT. null: random ones."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class."""


@dataclass
class ActivationConfig:
    """The activation that stands wherever the original network has a ReLU."""

    name: str = directory_part()
    """Name in tables and directories."""
    _target_: str = REQUIRED
    """Dotted name of the class, a `torch.nn.Module`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class."""


@dataclass
class OptimizerConfig:
    """An optimizer; its weight decay comes from `regularization.weight_decay` alone."""

    name: str = directory_part()
    """Name in tables and directories."""
    _target_: str = REQUIRED
    """Dotted name of the class, a `torch.optim.Optimizer`."""
    lr: float = bounded(REQUIRED, above=0)
    """Initial learning rate; the peak of `schedule=cosine` and `onecycle`."""
    momentum: float | None = bounded(None, low=0, high=1)
    """For classes that take `momentum`; null leaves the class's own default."""
    head_lr_factor: float = bounded(1.0, above=0)
    """The last layer's learning rate is `lr` times this."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class."""


@dataclass
class RegularizationConfig:
    """Methods against overfitting, which is to fit the training images alone."""

    weight_decay: float = bounded(0.0, low=0)
    """The optimizer's `weight_decay`: on every parameter, batch norm and biases included."""
    label_smoothing: float = bounded(0.0, low=0, high=1)
    """Share of the target that is spread evenly over all classes."""
    dropout: float = bounded(0.0, low=0, high=0.99)
    """Probability, before the last linear layers."""
    cutout: int = bounded(0, low=0)
    """Side in pixels of the square that is erased (DeVries and Taylor 2017)."""
    mixup: float = bounded(0.0, low=0)
    """Alpha of the Beta distribution (Zhang et al. 2018), at least 0.05; 0 is off."""


@dataclass
class WidthConfig:
    """The width of the network."""

    channels: int | None = bounded(REQUIRED, low=1)
    """C: channels of the first stage; the later stages have 2C, 4C, 8C. null (`width=native`): as
    published, for networks of torchvision."""


@dataclass
class AugmentationConfig:
    """Random changes of the training images."""

    crop_padding: int = bounded(0, low=0)
    """Pixels of zero padding before a random crop of the original size."""
    flip: bool = False
    """Horizontal flip with probability 1/2."""
    crop_area: float = bounded(1.0, above=0, high=1)
    """Smallest share of an image's area that a random crop has, which is then resized to the whole
    image; 1 is no such crop."""


@dataclass
class ScheduleConfig:
    """The learning rate of each step."""

    name: Literal["constant", "plateau", "cosine", "onecycle"] = REQUIRED
    """Which rule of `augean.training.lr_schedule`."""
    factor: float = bounded(0.5, above=0, high=0.999)
    """plateau: the learning rate is multiplied by this."""
    patience: int = bounded(9, low=0)
    """plateau: epochs without a new minimum of the validation loss that are let pass; the next
    one lowers the learning rate."""
    threshold: float = bounded(0.0, low=0, high=1)
    """plateau: relative improvement that counts as a new minimum."""
    warmup: float = bounded(0.0, low=0, high=0.99)
    """cosine, onecycle: share of all steps in which the learning rate rises."""


LENGTH_FREE_SCHEDULES = frozenset({"constant", "plateau"})
"""Schedules whose learning rates do not depend on the number of epochs. Others stretch over all
epochs, so that no two lengths begin alike."""


@dataclass
class DatasetConfig:
    """A data set: constructed with `name, root, cache, image_size` and `arguments`."""

    name: str = directory_part()
    """Name in tables and directories; the folder of an `ImageFolder`."""
    _target_: str = REQUIRED
    """Dotted name of the class, an `augean.datasets.base.Source`."""
    num_train: int | None = bounded(None, low=1)
    """Training images left after the validation split (stratified); null takes all."""
    # Not the default null is neutral, but the number that it stands for on large data sets: null
    # and 5,000 are the same run (see `augean.runs.address.fill_open_values`).
    num_val: int | None = bounded(None, low=0, neutral=MAX_DEFAULT_VAL)
    """Images held out of the training set, stratified by class; null holds out a tenth, at most
    5,000. 0 trains on everything and takes the last epoch."""
    split_seed: int = bounded(0, low=0)
    """Seed of the split alone, so that runs of all seeds share it."""
    image_size: int = bounded(32, low=8, high=1024)
    """Height and width in pixels; digits, CIFAR and Fashion-MNIST have one of their own."""
    # The default mean and std are those of ImageNet.
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Per colour channel, of values from 0 to 1; subtracted from the images."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Per colour channel, of values from 0 to 1; the images are divided by it."""
    crop_padding: int = bounded(4, low=0)
    """Pixels that `augmentation=standard` pads on these images."""
    flip: bool = True
    """Whether `augmentation=standard` flips these images."""
    crop_area: float = bounded(1.0, above=0, high=1)
    """Smallest share of the area that `augmentation=standard` crops from these images."""
    transforms: Literal["own", "weights"] = "own"
    """weights: `image_size`, `mean`, `std` and the resizing are those that belong to
    `model.weights`, or to a network of torchvision without weights. A run's config has these
    values in their places."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the class."""


@dataclass
class TrainerConfig:
    """Length, steps and precision of the training."""

    epochs: int = bounded(35, low=1)
    """Passes over the training images."""
    batch_size: int = bounded(128, low=2)
    """Images of one step."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    """bf16, fp16 or fp32: type of number in matrix products; weights are fp32 throughout."""
    deterministic: bool = False
    """Use deterministic kernels only."""
    reset_optimizer: Literal["never", "epoch"] = "never"
    """epoch: momentum and moments start anew each epoch; never: they go on."""
    freeze: str = "none"
    """Part of the network that stays as it is: none; backbone, all but the last layer; or `until
    <module>`, that module and all before it."""


@dataclass
class RecordConfig:
    """Records of a run beyond one row an epoch."""

    step_loss: bool = False
    """`steps.npy`: the training loss of every step."""
    probe_every: int = bounded(0, low=0)
    """`probe.csv`: the loss landscape along the gradient, every so many steps (see
    augean.training.loss_landscape); 0 is never."""
    probe_range: list[float] = field(default_factory=lambda: [0.5, 4.0])
    """Smallest and largest step along the gradient, as multiples of the step's learning rate."""
    probe_points: int = bounded(8, low=2, high=100)
    """Number of steps in that range, evenly spaced on a logarithmic scale."""


@dataclass
class TableConfig:
    """The table that a sweep fills (see sweeps/)."""

    title: str | None = None
    """Heading of the table in the report."""
    figure: str | None = None
    """Name of the figure in the course report, such as "Figure 2"."""
    row: str | None = None
    """Dotted key whose value is the row, such as activation.name; several, with commas between, for
    a joint label."""
    column: str | None = None
    """Dotted key of a second factor, as optimizer.lr: the table is drawn by row and column too,
    and `baseline` names a row with its column, such as "sgd, 0.1"."""
    band: str | None = None
    """Dotted key: runs that agree in it form one band of step losses, between their smallest and
    largest."""
    baseline: str | None = None
    """The row that the others are compared with."""
    # Keys of any type, as YAML reads a row such as 64 as a number.
    reference: dict[Any, dict[str, float]] = field(default_factory=dict)
    """Per row the published numbers: test_accuracy in percent, seconds."""
    reference_dataset: str = "cifar10"
    """`dataset.name` of the data that the published numbers are of. Differences to them are shown
    only for runs that trained on all of the same data."""
    note: str | None = None
    """A sentence for the caption."""


@dataclass
class LauncherConfig:
    """The place where the runs of a sweep are executed.

    All but the name is for clusters (docs/how-to/clusters.md).
    """

    name: Literal["local", "slurm", "ray"] = "local"
    """Processes of this machine, a SLURM job array, or Ray."""
    cpus: int = bounded(1, low=1)
    """CPU cores of one run."""
    gpus: float = bounded(0.0, low=0)
    """GPUs of one run; Ray takes fractions, so that several runs share one."""
    memory_gb: float | None = bounded(None, above=0)
    """Main memory of one run in GB; null leaves the cluster's default."""
    minutes: int = bounded(240, low=1)
    """SLURM: time limit; a run that needs more is requeued and goes on from its checkpoint."""
    partition: str | None = None
    """SLURM: partition of the jobs; null leaves the cluster's default."""
    account: str | None = None
    """SLURM: account that the jobs are charged to; null leaves the user's default."""
    max_parallel: int | None = bounded(None, low=1)
    """SLURM: runs of one array at a time; null sets no limit."""
    runs_per_job: int = bounded(1, low=1)
    """SLURM: runs of a grid that one job trains, one after the other, within its time limit."""
    max_requeues: int = bounded(100, low=0)
    """SLURM: starts of one run after the first. Without a limit, an epoch that is longer than the
    time limit would be repeated for ever."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Further options of sbatch."""


@dataclass
class RuntimeConfig:
    """The place and manner of execution; never part of a run's address."""

    outputs: str = "outputs"
    """Folder of runs, sweep records and the report."""
    data: str = "data"
    """Folder of the data sets."""
    cache: str | None = None
    """Folder for decoded images; null: `.augean` inside `runtime.data`."""
    dataset_title: str | None = None
    """The data set's name in tables; null: `dataset.name`."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:<n> or mps."""
    data_on: Literal["auto", "device", "host"] = "auto"
    """auto, device or host: where the images are during training. auto: on the device if they leave
    room there; else on the host, from where batches are copied ahead. The results are the same."""
    threads: int | None = bounded(None, low=1)
    """CPU threads; null: all cores, shared out among the workers."""
    workers: int = bounded(1, low=1, high=256)
    """Processes that work on a sweep together; CUDA devices are dealt out."""
    compile: bool = False
    """Whether torch.compile compiles the network for training steps of full batches."""
    fused_norm: bool = False
    """Whether batch norm, addition and activation are one Triton kernel in training steps on CUDA
    in bf16 or fp16, where the network and the activation allow it."""
    cuda_graph: bool = True
    """Whether a training step is captured once on CUDA and then replayed."""
    checkpoint_seconds: float = bounded(30.0, low=0)
    """Least time between two checkpoints, in seconds."""
    keep_state: bool = False
    """Whether a finished run keeps the state of its last epoch as state.pt, from which a longer
    training can go on: weights, optimizer and history, three to four times as large as best.pt."""
    grace_seconds: float = bounded(25.0, low=0)
    """After a stop signal an epoch may end within this time, in seconds; later it is abandoned."""
    progress: Literal["auto", "bar", "plain", "none"] = "auto"
    """auto, bar, plain or none. auto: a bar on a terminal, else a plain line per epoch."""
    allowed_packages: list[str] = field(default_factory=list)
    """Packages whose classes a `_target_` may name, beside torch, torchvision and augean."""
    loggers: list[Literal["tensorboard", "wandb"]] = field(default_factory=list)
    """tensorboard, wandb: services that receive the numbers of each epoch, see
    augean.training.loggers."""
    table: TableConfig = field(default_factory=TableConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)


@dataclass
class Config:
    """One run: a node for each config group, and the seed."""

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
    """Seed of the initial weights, of the order of the images and of their augmentation."""
    code_files: list[str] = field(default_factory=list)
    """Files that own code reads, such as its settings: their content becomes part of the address,
    which sees only Python's imports by itself."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
