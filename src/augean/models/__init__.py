"""The networks.

All are called with `num_classes, activation, channels, dropout` and options of their own.
`activation` is a factory: called without arguments it returns a fresh module. The input is [N, 3,
H, W], the output are logits [N, num_classes].
"""

from augean.models.resnet import ResNet
from augean.models.vgg import VGG

__all__ = ["VGG", "ResNet"]
