"""Build VGG (Simonyan and Zisserman 2015) for small images, with or without batch norm."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from augean.models.norm_activation import run_layers

# A: the smallest network of the paper, with eight convolutions.
VGG_A: tuple[int | str, ...] = (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M")
"""Configuration A: a number k is a 3x3 convolution to k * C channels, "M" is 2x2 max-pooling."""


class VGG(nn.Module):
    """3x3 convolutions and max-pooling, then a classifier of three linear layers.

    The linear layers have 8C, 8C and `num_classes` outputs. On 32x32 images with C=64 the
    convolutions and poolings equal those of torchvision's vgg11 and vgg11_bn, with the same order
    of parameters. Max-pooling rounds odd sizes up. At 32x32 there are none, and smaller images stay
    possible: 16x16 ends at 1x1 too. The features of larger images are averaged to 1x1. The initial
    weights are PyTorch's defaults for each layer, as the course report names no initialisation.

    Args:
        num_classes: number of outputs.
        activation: returns a new module for each place where the original has a ReLU.
        channels: C, the channels of the first convolution.
        dropout: probability of the dropout layer before each linear layer; with 0 there is none.
        batch_norm: whether batch norm follows each convolution. The convolutions keep their bias,
            as in torchvision.
        layout: the order of convolutions, as multiples of C, and of max-poolings, as "M".

    Raises:
        ValueError: for a layout with other entries, or without a convolution.
    """

    def __init__(
        self,
        num_classes: int,
        activation: Callable[[], nn.Module],
        channels: int,
        dropout: float,
        *,
        batch_norm: bool = False,
        layout: Sequence[int | str] = VGG_A,
    ) -> None:
        super().__init__()
        features: list[nn.Module] = []
        width = 3  # channels of the last layer so far; the images are RGB
        for entry in layout:
            if entry == "M":
                features.append(nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True))
            elif isinstance(entry, int) and entry >= 1:
                features.append(nn.Conv2d(width, entry * channels, kernel_size=3, padding=1))
                width = entry * channels
                if batch_norm:
                    features.append(nn.BatchNorm2d(width))
                features.append(activation())
            else:
                raise ValueError(
                    f"layout={list(layout)}: {entry!r} must be M or a whole multiple of C, at"
                    " least 1"
                )
        if not any(isinstance(layer, nn.Conv2d) for layer in features):
            raise ValueError(f"layout={list(layout)}: must have at least one convolution")
        self.features = nn.Sequential(*features)
        # 1x1 already for images of up to 32x32, which this leaves as it is.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

        classifier: list[nn.Module] = []
        for out_features in (width, width, num_classes):
            if dropout > 0:
                classifier.append(nn.Dropout(dropout))
            classifier += [nn.Linear(width, out_features), activation()]
        self.classifier = nn.Sequential(*classifier[:-1])  # no activation after the last layer

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to logits [N, num_classes]."""
        x = run_layers(self.features, images)  # [N, 3, H, W] -> [N, 8C, H/32, W/32], rounded up
        x = self.pool(x)  # -> [N, 8C]
        logits: Tensor = self.classifier(x)  # -> [N, num_classes]
        return logits
