"""A small network with depthwise convolutions."""

from collections.abc import Callable

from torch import Tensor, nn


class PatchNet(nn.Module):
    """`depth` stages, each of which halves the image.

    The first four arguments are what Augean gives every model; `depth` is this one's own,
    `model.arguments.depth`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        activation: Callable[[], nn.Module],
        channels: int,
        dropout: float,
        depth: int = 2,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
        for _ in range(depth):
            stages += [
                activation(),
                nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
                nn.Conv2d(channels, channels, 1),
                nn.BatchNorm2d(channels),
                nn.MaxPool2d(2),
            ]
        self.stages = nn.Sequential(*stages)
        self.classify = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] to logits [B, classes]."""
        return self.classify(self.stages(images).mean(dim=(2, 3)))
