"""A network whose epochs last as long as they are told to, so that eight workers can be timed on
two cores.
"""

import time

from torch import Tensor, nn


class Sleeper(nn.Module):
    """A linear classifier that sleeps in every training step.

    Args:
        seconds: of one step.
    """

    def __init__(self, num_classes: int, seconds: float = 0.0, **_: object) -> None:
        super().__init__()
        self.seconds = seconds
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(self.seconds)
        return self.layers(images)
