"""The networks. A model's contract is one signature: `num_classes, activation, channels, dropout`,
and its own options.

`activation` is a factory: called without arguments it returns a fresh module. Input is [N, 3, H,
W], output are logits [N, num_classes].
"""

from augean.models.resnet import ResNet
from augean.models.vgg import VGG

__all__ = ["VGG", "ResNet"]
