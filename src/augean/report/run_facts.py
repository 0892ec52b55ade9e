"""Say what a caption states of one run: its data, its setting and where it ran."""

from augean.store.summary import RunSummary

FACTS = (
    "dataset",
    "trainer.epochs",
    "trainer.batch_size",
    "device",
    "trainer.precision",
    "versions",
    "loop",
)
"""What the caption states of the runs, in its order."""


def run_facts(summary: RunSummary) -> dict[str, str]:
    """Return what one run has for each key of `FACTS`; "" where that is not known."""
    # A custom loop has config keys of its own, and need not have recorded everything.
    epochs = summary.config.get("trainer.epochs", summary.epochs)
    epochs_text = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    batch_size = summary.config.get("trainer.batch_size")
    device = summary.device or ""
    if device.startswith("cpu") and summary.threads is not None:
        device += f", threads: {summary.threads}"
    versions = [f"{name} {text}" for name, text in summary.versions.items()]
    return {
        "dataset": _dataset_fact(summary),
        # 0: a custom loop that logs no epochs.
        "trainer.epochs": epochs_text if epochs else "",
        "trainer.batch_size": f"batch size {batch_size}" if batch_size else "",
        "device": device,
        "trainer.precision": _arithmetic_fact(summary),
        "versions": ", ".join(versions),
        "loop": summary.loop or "Augean's",
    }


def _arithmetic_fact(summary: RunSummary) -> str:
    """Return the precision, and the keys of `runtime` that chose other code for training steps."""
    texts = [summary.precision] if summary.precision else []
    for name, value in (summary.torch_settings or {}).items():
        if name.startswith("runtime."):
            texts.append(f"{name}={str(value).lower()}")
    return ", ".join(texts)


def _dataset_fact(summary: RunSummary) -> str:
    """Return the title of the data set, its numbers of images and their size, as far as known."""
    title = summary.dataset_title or ""
    texts = []
    if summary.num_train and summary.num_val:
        counts = f"{summary.num_train:,} + {summary.num_val:,}"
        texts.append(f"{counts} training and validation images")
    elif summary.num_train:
        texts.append(f"{summary.num_train:,} training images")
    elif summary.num_val:
        texts.append(f"{summary.num_val:,} validation images")
    if summary.num_test:
        texts.append(f"{summary.num_test:,} test images")
    size = summary.config.get("dataset.image_size")
    if size:
        texts.append(f"{size}x{size} pixels{_preparation_text(summary)}")
    return f"{title} ({', '.join(texts)})" if texts else title


def _preparation_text(summary: RunSummary) -> str:
    """Return how photographs were resized before their centre was cut out; "" for other images."""
    resize = summary.config.get("dataset.arguments.resize")
    if not resize:
        return ""
    interpolation = summary.config.get("dataset.arguments.interpolation", "bilinear")
    return f" cut from {resize}, {interpolation}"
