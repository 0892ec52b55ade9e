"""Batched augmentation on the device: each function works on a whole batch, without a loop over
images.

Random numbers come from the device's default generator, which training seeds anew each epoch.
"""

import torch
from torch import Tensor
from torch.nn import functional


def pad(images: Tensor, padding: int) -> Tensor:
    """Zero-pad uint8 images [N, H, W, 3] on all four sides, once per run rather than once per
    batch.
    """
    return functional.pad(images, (0, 0, padding, padding, padding, padding)).contiguous()


def crop_and_flip(padded: Tensor, index: Tensor, size: int, flip: bool) -> Tensor:
    """Take images `index` out of `padded`, each cropped at random and flipped with probability 1/2,
    in one gather.

    The same distribution as torchvision's RandomCrop(size, padding) followed by
    RandomHorizontalFlip.

    Args:
        padded: uint8 [N, H, W, 3] from `pad`; H == W >= size. H == size means no crop.
        index: int64 [B].
        size: side of the result.

    Returns:
        uint8 [B, 3, size, size] in channels_last memory format.
    """
    height, width = padded.shape[1:3]
    if height == size and not flip:
        return padded[index].permute(0, 3, 1, 2)
    device, batch = padded.device, len(index)
    steps = torch.arange(size, device=device)
    rows, columns = steps.expand(batch, size), steps.expand(batch, size)
    if flip:
        mirrored = torch.rand(batch, 1, device=device) < 0.5
        columns = torch.where(mirrored, size - 1 - columns, columns)
    if height > size:
        offsets = torch.randint(0, height - size + 1, (2, batch, 1), device=device)
        rows, columns = rows + offsets[0], columns + offsets[1]
    pixels = ((index.view(-1, 1, 1) * height + rows.unsqueeze(2)) * width) + columns.unsqueeze(
        1
    )  # [B, size, size]
    return padded.view(-1, 3)[pixels].permute(0, 3, 1, 2)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to fp32, (x / 255 - mean) / std per channel.

    Args:
        mean: fp32 [3], of values in [0, 1].
        std: fp32 [3].
    """
    scale = 1 / (255 * std)
    return torch.addcmul((-mean / std).view(1, 3, 1, 1), images.float(), scale.view(1, 3, 1, 1))


def cutout(images: Tensor, side: int) -> Tensor:
    """Erase a square of `side` pixels around a random centre; parts outside the image are cut off.

    DeVries and Taylor 2017. On normalised images [B, 3, H, W], so erased means the mean colour.
    """
    batch, _, height, width = images.shape
    device = images.device
    first = [
        torch.randint(0, extent, (batch, 1), device=device) - side // 2
        for extent in (height, width)
    ]
    inside = []
    for start, extent in zip(first, (height, width), strict=True):
        steps = torch.arange(extent, device=device)
        inside.append((steps >= start) & (steps < start + side))  # [B, extent]
    mask = inside[0].view(batch, 1, height, 1) & inside[1].view(batch, 1, 1, width)
    return images.masked_fill(mask, 0)


def mixup(images: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each image with another one of its batch (Zhang et al. 2018).

    Returns:
        the mixed images; int64 [B], the index of each image's partner; the scalar weight of the
        image itself, which the loss uses for its label, drawn once per batch from Beta(alpha,
        alpha).
    """
    concentration = torch.full((), alpha, device=images.device)
    weight = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
    if (
        images.device.type == "cuda"
    ):  # where a short randperm is made on the host, which no CUDA graph can record
        partner = torch.rand(len(images), device=images.device).argsort()
    else:
        partner = torch.randperm(len(images), device=images.device)
    return torch.lerp(images[partner], images, weight), partner, weight
