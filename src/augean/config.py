"""The config of a run: its typed schema, its checks, and the run id made from it.

Everything outside the node `runtime` changes the mathematics of a run or what it records, so it is part of the run's
address; nothing under `runtime` is. A field's default here is *neutral*: it is dropped before hashing, so a new field
with a neutral default changes no existing id. Neutral defaults therefore never change.
"""

import ast
import hashlib
import importlib
import importlib.util
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from omegaconf import MISSING as REQUIRED
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from augean.errors import ConfigError

T = TypeVar("T")

SCHEMA = 1
"""Raised when the meaning of a config key changes."""
CORE = 1
"""Raised when Augean's own mathematics changes, which is when a golden loss curve changes."""
TRUSTED_PACKAGES = ("torch", "torchvision", "augean")
"""Their classes are named by version or by `CORE`; code from elsewhere enters the run id as a digest of its source."""


def bounded(default: Any, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf) -> Any:
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
    """default: PyTorch's; xavier_normal: weights of convolutions and linear layers, with biases 0."""
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
    """Images held out of the training set, stratified by class; 0 trains on everything and takes the last epoch."""
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
    """`probe.csv`: the loss landscape along the gradient, every so many steps (see augean.landscape); 0 is never."""
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
    """Dotted key whose value is the row, such as activation.name; several, with commas between, for a joint label."""
    band: str | None = None
    """Dotted key: runs that agree in it form one band of step losses, between their smallest and largest."""
    baseline: str | None = None
    """The row that the others are compared with."""
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per row the published numbers: test_accuracy in percent, seconds."""
    note: str | None = None
    """A sentence for the caption."""


@dataclass
class LauncherConfig:
    """Where the runs of a sweep are executed; all but the name is for clusters (docs/clusters.md)."""

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
    """SLURM: starts of one run after the first, for an epoch that is longer than the time limit never ends."""
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


def config_dir() -> Path:
    """The folder `conf`: beside the sources in a checkout, inside the package in an installed wheel."""
    package = Path(__file__).parent
    return package / "conf" if (package / "conf").is_dir() else package.parents[1] / "conf"


def sweeps_dir() -> Path:
    """The folder `sweeps`, beside `conf`."""
    return config_dir().with_name("sweeps")


@lru_cache
def _schema() -> DictConfig:
    """`Config` as merges begin with it; they copy it."""
    return cast(DictConfig, OmegaConf.structured(Config))


def parse(raw: DictConfig | Mapping[str, Any]) -> Config:
    """A checked `Config` from a composed config or from plain nested dictionaries.

    Raises:
        ConfigError: for unknown keys, wrong types, missing or out-of-range values; all range problems at once.
    """
    return check(typed(raw))


def typed(raw: DictConfig | Mapping[str, Any]) -> DictConfig:
    """The schema filled with a config's values, which `check` takes. Keys can be changed in it and not added.

    Raises:
        ConfigError: for unknown keys and wrong types.
    """
    with _as_config_error():
        # Through plain containers: a typed config to which Hydra's `+key` forced an unknown key would pass a merge.
        plain = OmegaConf.to_container(raw) if isinstance(raw, DictConfig) else dict(raw)
        filled = cast(DictConfig, OmegaConf.merge(_schema(), plain))
    OmegaConf.set_struct(filled, True)
    return filled


def check(filled: DictConfig) -> Config:
    """A `Config` from what `typed` made.

    Raises:
        ConfigError: for missing or out-of-range values; all range problems at once.
    """
    with _as_config_error():
        config = cast(Config, OmegaConf.to_object(filled))
    for key, _, value in walk(config, ""):
        if isinstance(value, list) and not all(isinstance(item, str | int | float) for item in value):
            raise ConfigError(f"{key}={value}: must be a list of plain values")
    problems = [*_range_problems(config), *_cross_problems(config)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        if isinstance(error, MissingMandatoryValue):
            raise ConfigError(f"{error.full_key}: has no value yet; give it one, {error.full_key}=...") from error
        raise ConfigError(where + str(error).split("\n")[0]) from error
    except (TypeError, ValueError, RecursionError) as error:  # such as keys where a list belongs
        raise ConfigError(f"the config cannot be read: {error}") from error


def walk(node: Any, prefix: str) -> Iterator[tuple[str, "Field[Any]", Any]]:
    """Yield (dotted key, field, value) of every leaf field below a dataclass node."""
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item, value


def _range_problems(config: Config) -> Iterator[str]:
    for key, item, value in walk(config, ""):
        meta = item.metadata
        if value is None:
            continue
        if "choices" in meta and not {*(value if isinstance(value, list) else [value])} <= {*meta["choices"]}:
            yield f"{key}={value}: must be one of {', '.join(meta['choices'])}"
        if "pattern" in meta and not re.fullmatch(meta["pattern"], value):
            yield f"{key}={value!r}: letters, digits, '_', '-' and '.' only (at most 64), as it names a folder"
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key}={value}: must be a finite number"
        elif "low" in meta and not (meta["low"] <= value <= meta["high"] and value > meta["above"]):
            yield f"{key}={value}: must be {_range_text(meta)}"


def _range_text(meta: Mapping[str, float]) -> str:
    parts = []
    if meta["above"] > -math.inf:
        parts.append(f"above {meta['above']:g}")
    if meta["low"] > -math.inf:
        parts.append(f"at least {meta['low']:g}")
    if meta["high"] < math.inf:
        parts.append(f"at most {meta['high']:.12g}")
    return " and ".join(parts) or "a finite number"


def _cross_problems(config: Config) -> Iterator[str]:
    dataset, size = config.dataset, config.dataset.image_size
    for key, values in (("mean", dataset.mean), ("std", dataset.std)):
        if len(values) != 3 or not all(math.isfinite(value) for value in values):
            yield f"dataset.{key}={values}: must be three finite numbers, one per colour channel"
    if any(value <= 0 for value in dataset.std):
        yield f"dataset.std={dataset.std}: must be above 0"
    if config.augmentation.crop_padding >= size:
        yield f"augmentation.crop_padding={config.augmentation.crop_padding}: must be below dataset.image_size={size}"
    if config.regularization.cutout > size:
        yield f"regularization.cutout={config.regularization.cutout}: must be at most dataset.image_size={size}"
    if dataset.num_val == 0 and config.schedule.name == "plateau":
        yield (
            "schedule=plateau needs a validation loss and dataset.num_val=0 leaves none: "
            "use schedule=cosine, onecycle or constant, or hold out images with dataset.num_val=<how many>"
        )
    for group, names in OWN_KEYS.items():
        for name in filter(getattr(config, group).arguments.__contains__, names):
            yield f"{group}.arguments.{name}: use {names[name]}, its only source"
    if config.model.stem is not None and "stem" in config.model.arguments:
        yield "model.arguments.stem: use model.stem, which is given too"
    probed = config.record.probe_range
    if len(probed) != 2 or not 0 < probed[0] < probed[1] < math.inf:
        yield f"record.probe_range={probed}: must be two numbers, 0 < smallest < largest"
    if not config.runtime.outputs or not config.runtime.data:
        yield "runtime.outputs and runtime.data: must name a folder; '.' is the one you are in"
    device = config.runtime.device
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        yield f"runtime.device={device}: must be auto, cpu, cuda, cuda:<n> or mps"
    for key, target in targets(config).items():
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
            yield f"{key}={target}: must be a dotted class name such as torch.optim.SGD"
        elif (package := target.split(".")[0]) not in (*TRUSTED_PACKAGES, *config.runtime.allowed_packages):
            allowed = ", ".join((*TRUSTED_PACKAGES, *config.runtime.allowed_packages))
            yield (
                f"{key}={target}: only classes of {allowed} are allowed; to trust another package set "
                f"runtime.allowed_packages=[{','.join([*config.runtime.allowed_packages, package])}]"
            )
    for node in ("model", "activation", "optimizer", "dataset"):
        yield from _argument_problems(f"{node}.arguments", getattr(config, node).arguments)


def _argument_problems(key: str, value: Any) -> Iterator[str]:
    """Class arguments are plain values: a nested `_target_` would be one more way to name code."""
    if isinstance(value, dict):
        for name, item in value.items():
            if str(name).startswith("_"):
                yield f"{key}.{name}: keys that start with '_' are not passed on"
            else:
                yield from _argument_problems(f"{key}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _argument_problems(f"{key}[{index}]", item)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}={value}: must be a finite number"
    elif not isinstance(value, str | int | float | None):
        yield f"{key}={value}: must be text, a number, true, false or null, or a list or keys with those"


def targets(config: Config) -> dict[str, str]:
    """The class names in a config by their keys."""
    return {
        f"{node}._target_": getattr(config, node)._target_ for node in ("model", "activation", "optimizer", "dataset")
    }


OWN_KEYS = {
    "dataset": {"name": "dataset.name", "root": "runtime.data", "cache": "runtime.cache", "image_size": "dataset"},
    "model": {"num_classes": "dataset", "activation": "activation", "channels": "width", "dropout": "regularization"},
    "optimizer": {
        "lr": "optimizer.lr",
        "momentum": "optimizer.momentum",
        "weight_decay": "regularization.weight_decay",
    },
}
"""Arguments of constructors that come from elsewhere in the config: given twice, one of them would be lost."""


def find_class(key: str, target: str, base: type[T]) -> type[T]:
    """The class that `target` names.

    Raises:
        ConfigError: when it cannot be imported, is no class, or does not derive from `base`.
    """
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs code, which may raise whatever it likes
        raise ConfigError(f"{key}={target}: cannot import {module_name}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        raise ConfigError(f"{key}={target}: {module_name} has no {class_name}")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key}={target}: must be a class derived from {base.__module__}.{base.__qualname__}")
    return found


def flatten(config: Config) -> dict[str, Any]:
    """Every key of the run's address as `{dotted key: value}`; `arguments` are spread too."""
    flat: dict[str, Any] = {}
    for key, _, value in walk(config, ""):
        if key.startswith("runtime."):
            continue
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            flat[key] = value
    return flat


def _neutral(item: "Field[Any]") -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else MISSING


def plain(value: Any, *, floats: bool) -> Any:
    """A value as hashed: numbers of float fields, and of free arguments, as floats."""
    if isinstance(value, dict):
        return {str(name): plain(item, floats=floats) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, floats=floats) for item in value]
    if floats and isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and (value.bit_length() > 1000 or float(value) != value):
            return value  # a float cannot tell it from its neighbours
        return float(value) + 0.0  # -0.0 and 0.0 are one value
    return value


def canonical(node: Any) -> dict[str, Any]:
    """A dataclass node as it is hashed: without `runtime` and without keys at their neutral default."""
    hints = get_type_hints(type(node))
    result: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, RuntimeConfig):
            continue
        if is_dataclass(value):
            if inner := canonical(value):
                result[item.name] = inner
        elif value != _neutral(item):
            hint = str(hints[item.name])
            result[item.name] = plain(value, floats="float" in hint or "Any" in hint)
    return result


def run_id(config: Config, data_digest: str, loop: str | None = None) -> str:
    """The run's address: 10 hex digits over its config, its data's content and its code.

    Args:
        config: a checked config.
        data_digest: content digest of the data set, see `augean.data.Source.digest`.
        loop: digest of the code that trains, where that is not Augean's, see `augean.own_loop`.
    """
    identity = {
        "schema": SCHEMA,
        "core": CORE,
        "config": canonical(config),
        "data": data_digest,
        "code": {
            target: source_digest(target.rpartition(".")[0])
            for target in targets(config).values()
            if target.split(".")[0] not in TRUSTED_PACKAGES
        },
    }
    return short_hash(identity if loop is None else {**identity, "loop": loop})


def short_hash(identity: Mapping[str, Any]) -> str:
    """10 hex digits of sha256 over canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@lru_cache(maxsize=256)
def source_digest(module: str) -> str:
    """Digest of a module's code, and of what it imports from beside it, see `file_digest`.

    Raises:
        ConfigError: when the module has no Python source that can be found.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"_target_: cannot find module {module}: {error}") from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(f"_target_: cannot find the Python source of module {module}; is its package on the path?")
    depth = module.count(".") + (spec.submodule_search_locations is not None)
    return file_digest(Path(spec.origin), Path(spec.origin).parents[depth])


def file_digest(path: Path, root: Path) -> str:
    """Digest of the syntax tree of a file and of all that it imports from `root`, however indirectly.

    Comments, docstrings and formatting do not count. Below an installation's site-packages only the file's own package
    counts; what is imported by a name made at run time is not seen.

    Args:
        root: the folder on Python's path from which the file is imported.

    Raises:
        ConfigError: when a file is no valid Python.
    """
    package, installed = path.relative_to(root).parts[0], root.name in ("site-packages", "dist-packages")
    dumps, pending = dict[Path, str](), [path]
    while pending:
        file = pending.pop()
        top = file.relative_to(root).parts[0].removesuffix(".py")
        if file in dumps or top in TRUSTED_PACKAGES or (installed and top != package):
            continue
        try:
            tree = ast.parse(file.read_bytes(), filename=str(file))
        except SyntaxError as error:
            raise ConfigError(f"_target_: {file} is no valid Python: {error}") from error
        pending += _imported(file, tree, root)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                del body[0]
        dumps[file] = _dump(tree)
    others = [f"\n{file.relative_to(root).as_posix()}\n{dumps[file]}" for file in sorted(dumps) if file != path]
    return hashlib.sha256("".join([dumps[path], *others]).encode()).hexdigest()[:16]


def _imported(file: Path, tree: ast.AST, root: Path) -> Iterator[Path]:
    """The files below `root` that a file's import statements name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            places = [root.joinpath(*alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (file.parents[node.level - 1] if node.level else root).joinpath(*(node.module or "").split("."))
            places = [base, *(base / alias.name for alias in node.names)]
        else:
            continue
        for path in (path for place in places for path in (Path(f"{place}.py"), place / "__init__.py")):
            if path.is_relative_to(root) and path.is_file():
                yield path


def _dump(node: Any) -> str:
    """Like `ast.dump`, but the same on every Python: that one changes with the fields that releases add."""
    if isinstance(node, ast.AST):
        parts = [f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
        return f"{type(node).__name__}({','.join(parts)})"
    return f"[{','.join(map(_dump, node))}]" if isinstance(node, list) else repr(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def row_label(value: Any) -> str:
    """How a config value reads as a table row: `0.0001` for 1e-4, `0` for 0.0."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        try:
            return f"{float(value):g}"
        except ValueError:
            return value
    return str(value)


def directory_name(config: Config, identity: str) -> str:
    """Name of the run's directory: readable parts, then the id."""
    return (
        f"{config.dataset.name}-{config.model.name}-{config.activation.name}-{config.optimizer.name}"
        f"-c{config.width.channels}-s{config.seed}-{identity}"
    )
