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
    # 1. Choose where each row and column of the result lies in its padded image: int64 [B, size].
    steps = torch.arange(size, device=device)
    rows, columns = steps.expand(batch, size), steps.expand(batch, size)
    if flip:
        mirrored = torch.rand(batch, 1, device=device) < 0.5
        columns = torch.where(mirrored, size - 1 - columns, columns)
    if height > size:
        offsets = torch.randint(0, height - size + 1, (2, batch, 1), device=device)
        rows, columns = rows + offsets[0], columns + offsets[1]
    # 2. Count the pixels of all padded images through, row by row, so that one number names each.
    first_row = index.view(-1, 1, 1) * height  # of each image, [B, 1, 1]
    row = first_row + rows.unsqueeze(2)  # [B, size, 1]
    pixels = row * width + columns.unsqueeze(1)  # [B, size, size]
    # 3. Gather them; the result's memory has the channels last, as that of `padded`.
    return padded.view(-1, 3)[pixels].permute(0, 3, 1, 2)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Turn uint8 [B, 3, H, W] into fp32, (x / 255 - mean) / std per channel.

    Args:
        mean: fp32 [3], of values in [0, 1].
        std: fp32 [3].
    """
    # The same as x * scale - mean / std, in one pass over the images.
    scale = 1 / (255 * std)
    return torch.addcmul((-mean / std).view(1, 3, 1, 1), images.float(), scale.view(1, 3, 1, 1))


def cutout(images: Tensor, side: int) -> Tensor:
    """Erase a square of `side` pixels around a random centre; parts outside the image are cut off.

    DeVries and Taylor 2017. On normalised images [B, 3, H, W], so erased means the mean colour.
    """
    batch, _, height, width = images.shape
    device = images.device
    # The centre is drawn inside the image; the first row and column may lie before its edge.
    top = torch.randint(0, height, (batch, 1), device=device) - side // 2  # [B, 1]
    left = torch.randint(0, width, (batch, 1), device=device) - side // 2  # [B, 1]
    rows = _inside(top, side, height).view(batch, 1, height, 1)
    columns = _inside(left, side, width).view(batch, 1, 1, width)
    return images.masked_fill(rows & columns, 0)


def _inside(start: Tensor, side: int, extent: int) -> Tensor:
    """Return which of `extent` positions lie in [start, start + side): bool [B, extent].

    Args:
        start: int64 [B, 1].
    """
    positions = torch.arange(extent, device=start.device)
    return (positions >= start) & (positions < start + side)


def mixup(images: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each image with another one of its batch (Zhang et al. 2018).

    Returns:
        the mixed images; int64 [B], the index of each image's partner; the scalar weight of the
        image itself, which the loss uses for its label, drawn once per batch from Beta(alpha,
        alpha).
    """
    concentration = torch.full((), alpha, device=images.device)
    weight = torch.distributions.Beta(concentration, concentration, validate_args=False).sample()
    if images.device.type == "cuda":
        # torch makes a short randperm on the host, which a CUDA graph cannot capture.
        partner = torch.rand(len(images), device=images.device).argsort()
    else:
        partner = torch.randperm(len(images), device=images.device)
    return torch.lerp(images[partner], images, weight), partner, weight
