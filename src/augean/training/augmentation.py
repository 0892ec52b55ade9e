"""Batched augmentation on the device: each function works on a whole batch, without a loop over
images.

Random numbers come from the device's default generator, which training seeds anew each epoch.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from augean.errors import ConfigError

BOX_ATTEMPTS = 10
"""Boxes that are drawn for an image, of which the first that fits is taken; torchvision's
number."""
SMALLEST_MIXUP = 0.05
"""Least `regularization.mixup` other than 0. Below it both gamma variates of a weight are often too
small for fp32, which makes the weight 1/2 where it should be near 0 or 1: at 0.01 with probability
17 %, at 0.05 with 0.02 % (calculated)."""


def pad(images: Tensor, padding: int) -> Tensor:
    """Zero-pad uint8 images [N, H, W, 3] on all four sides, once per run rather than once per
    batch.

    Without padding they are returned as they are, not copied.
    """
    if padding == 0:
        return images.contiguous()
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


def resized_crop(images: Tensor, min_area: float, flip: bool) -> Tensor:
    """Crop a box of random area and shape from each image, and resize it to the whole image.

    The same distribution as torchvision's RandomResizedCrop with scale (min_area, 1), for square
    images, followed by RandomHorizontalFlip. Pixels are interpolated bilinearly. Antialiasing would
    change nothing, as a crop is never made smaller.

    Args:
        images: uint8 [B, H, H, 3].
        flip: whether each is flipped with probability 1/2.

    Returns:
        uint8 [B, 3, H, H] in channels_last memory format.
    """
    batch, size = images.shape[:2]
    boxes = random_boxes(batch, size, min_area, images.device)
    top, left, height, width = boxes.unsqueeze(2)  # each [B, 1]
    rows, columns = _sources(top, height, size), _sources(left, width, size)  # [B, H]
    if flip:
        mirrored = torch.rand(batch, 1, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    # From pixels to the coordinates of grid_sample: -1 is the first pixel, 1 the last.
    x = columns.unsqueeze(1).expand(batch, size, size) * (2 / (size - 1)) - 1
    y = rows.unsqueeze(2).expand(batch, size, size) * (2 / (size - 1)) - 1
    pixels = functional.grid_sample(
        images.permute(0, 3, 1, 2).float(),
        torch.stack((x, y), dim=3),  # [B, H, H, 2]
        padding_mode="border",
        align_corners=True,
    )
    return pixels.round().byte().contiguous(memory_format=torch.channels_last)


def random_boxes(batch: int, size: int, min_area: float, device: torch.device) -> Tensor:
    """Draw a box in each of some square images, as torchvision's RandomResizedCrop does.

    Its share of the area is uniform from `min_area` to 1, its width to its height log-uniform from
    3/4 to 4/3. Boxes that do not fit are drawn again; after `BOX_ATTEMPTS` the box is the image.

    Returns:
        int64 [4, B]: top, left, height, width.
    """
    shape = (BOX_ATTEMPTS, batch)
    areas = size**2 * (min_area + (1 - min_area) * torch.rand(shape, device=device))
    ratios = torch.exp(math.log(4 / 3) * (2 * torch.rand(shape, device=device) - 1))
    heights = (areas / ratios).sqrt().round().long()
    widths = (areas * ratios).sqrt().round().long()
    fits = (heights >= 1) & (widths >= 1) & (heights <= size) & (widths <= size)
    # The first attempt that fits: of equal values argmax takes the first.
    first = fits.int().argmax(0, keepdim=True)  # [1, B]
    has_box = fits.any(0)  # [B]
    height = torch.where(has_box, heights.gather(0, first)[0], size)
    width = torch.where(has_box, widths.gather(0, first)[0], size)
    top = (torch.rand(batch, device=device) * (size - height + 1)).long()
    left = (torch.rand(batch, device=device) * (size - width + 1)).long()
    return torch.stack((top, left, height, width))


def _sources(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return where the pixels of a resized line come from, as interpolation does it.

    Args:
        start: first pixel of the crop, [B, 1].
        length: its pixels, [B, 1].
        size: pixels of the result.

    Returns:
        fp32 [B, size], positions in the whole line; none is outside the crop.
    """
    centres = torch.arange(size, device=start.device) + 0.5  # [size]
    inside = centres * (length / size) - 0.5  # [B, size]
    return start + inside.clamp(min=0).minimum(length - 1)


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


def check_mixup(alpha: float) -> None:
    """Refuse an alpha at which the weights of the images cannot be drawn.

    Raises:
        ConfigError: for such a `regularization.mixup`.
    """
    if 0 < alpha < SMALLEST_MIXUP:
        raise ConfigError(
            f"regularization.mixup={alpha}: must be 0, which is off, or at least {SMALLEST_MIXUP};"
            " at smaller values the Beta distribution cannot be drawn from in fp32"
        )


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
