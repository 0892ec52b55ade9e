"""Build ResNets of basic blocks (He et al. 2016), with the original or a smaller stem."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from augean.models.norm_activation import norm_activation, run_layers


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, whose output is added to the block's input.

    A block either keeps the number of channels, or doubles it and halves height and width. In the
    second case the input passes through a shortcut, a 1x1 convolution with stride 2 and batch norm.
    """

    def __init__(
        self, in_channels: int, channels: int, activation: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        # The convolutions have no bias, as batch norm would subtract it again.
        stride = 1 if channels == in_channels else 2
        self.conv1 = nn.Conv2d(
            in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.norm1 = nn.BatchNorm2d(channels)
        self.activation1 = activation()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=2, bias=False),
                nn.BatchNorm2d(channels),
            )
        self.activation2 = activation()

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape, or to [N, 2C, H/2, W/2]."""
        x = norm_activation(self.norm1, self.activation1, self.conv1(images))
        residual: Tensor = self.shortcut(images)
        x = norm_activation(self.norm2, self.activation2, self.conv2(x), residual)
        return x


class ResNet(nn.Module):
    """A stem, stages of basic blocks, global average pooling and one linear layer.

    The stages have C, 2C, 4C, ... channels. With C=64 and `stem="imagenet"` the network equals
    torchvision's resnet18 or resnet34, with the same order of parameters. The initial weights
    differ: they are PyTorch's defaults for each layer, as the course report names no
    initialisation.

    Args:
        num_classes: number of outputs.
        activation: returns a new module for each place where the original has a ReLU.
        channels: C, the channels of the stem and the first stage.
        dropout: probability of the dropout layer before the linear layer; with 0 there is none.
        blocks: number of blocks of each stage; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) is
            ResNet-34.
        stem: "cifar", a 3x3 convolution with stride 1, or "imagenet", 7x7 with stride 2 and 3x3
            max-pooling with stride 2.

    Raises:
        ValueError: for another stem, or blocks that are not whole numbers of at least 1.
    """

    def __init__(
        self,
        num_classes: int,
        activation: Callable[[], nn.Module],
        channels: int,
        dropout: float,
        *,
        blocks: Sequence[int] = (2, 2, 2, 2),
        stem: str = "cifar",
    ) -> None:
        super().__init__()
        if not blocks or not all(isinstance(number, int) and number >= 1 for number in blocks):
            raise ValueError(
                f"blocks={list(blocks)}: must be whole numbers of at least 1, one per stage"
            )
        self.stem = _build_stem(stem, channels, activation)

        # Every stage but the first begins with a block that doubles the channels.
        stages = []
        in_channels = channels
        for stage, num_blocks in enumerate(blocks):
            stage_channels = channels * 2**stage
            stage_blocks = []
            for _ in range(num_blocks):
                stage_blocks.append(BasicBlock(in_channels, stage_channels, activation))
                in_channels = stage_channels
            stages.append(nn.Sequential(*stage_blocks))
        self.stages = nn.Sequential(*stages)

        # On CUDA the gradient of adaptive average pooling is deterministic for an output of 1x1,
        # where PyTorch computes a mean, and not for other sizes.
        head: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if dropout > 0:
            head.append(nn.Dropout(dropout))
        self.head = nn.Sequential(*head, nn.Linear(in_channels, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to logits [N, num_classes]."""
        # [N, C, h, w]: h = H with the cifar stem, H/4 with the imagenet stem, and w likewise
        x = run_layers(self.stem, images)
        x = self.stages(x)  # -> [N, 8C, h/8, w/8] with four stages
        logits: Tensor = self.head(x)  # -> [N, num_classes]
        return logits


def _build_stem(stem: str, channels: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Build the layers before the first stage, which map [N, 3, H, W] to [N, channels, h, w].

    Raises:
        ValueError: for an unknown stem.
    """
    # Built in the order of the layers: each may draw its initial weights when it is built, and
    # another order would give other weights from the same seed.
    layers: list[nn.Module] = []
    if stem == "cifar":
        layers.append(nn.Conv2d(3, channels, kernel_size=3, padding=1, bias=False))
    elif stem == "imagenet":
        layers.append(nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False))
    else:
        raise ValueError(f"stem={stem}: must be cifar or imagenet")
    layers += [nn.BatchNorm2d(channels), activation()]
    if stem == "imagenet":
        layers.append(nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    return nn.Sequential(*layers)
