"""The networks that come with Augean.

Each takes `num_classes, activation, channels, dropout` and further options of its own. `activation`
is a factory: called without arguments, it returns a new module. The input is [N, 3, H, W], the
output logits [N, num_classes].
"""

from augean.models.resnet import ResNet
from augean.models.vgg import VGG

__all__ = ["VGG", "ResNet"]
