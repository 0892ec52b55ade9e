"""The expert loop, as speedrun scripts train CIFAR-10: the second yardstick of `augean bench`.

Images on the device, normalised once; crops and flips of a whole epoch at once; bf16 autocast;
channels_last; `torch.compile`; a fused optimizer; no look at the loss within an epoch.
"""

import torch
from torch import Tensor
from torch.nn import functional

from augean.benchmark.entry import NUM_CLASSES, Entry

PADDING = 4


def augment(padded: Tensor, size: int) -> Tensor:
    """Crop and flip each image of [N, 3, H, W] at random: one indexed copy for each of the (2
    PADDING + 1)^2 shifts.
    """
    count = len(padded)
    shifts = torch.randint(2 * PADDING + 1, (2, count), device=padded.device)
    result = torch.empty((count, 3, size, size), dtype=padded.dtype, device=padded.device)
    result = result.to(memory_format=torch.channels_last)
    for top in range(2 * PADDING + 1):
        for left in range(2 * PADDING + 1):
            mask = (shifts[0] == top) & (shifts[1] == left)
            result[mask] = padded[mask, :, top : top + size, left : left + size]
    mirrored = (torch.rand(count, device=padded.device) < 0.5).view(-1, 1, 1, 1)
    return torch.where(mirrored, result.flip(-1), result)


def main() -> None:
    entry = Entry.from_command_line()
    device, batch_size, size = (
        entry.device,
        entry.config.trainer.batch_size,
        entry.config.dataset.image_size,
    )
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    images = torch.randint(0, 256, (entry.images, 3, size, size), dtype=torch.uint8, device=device)
    labels = torch.randint(0, NUM_CLASSES, (entry.images,), device=device)
    mean = torch.tensor(entry.config.dataset.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(entry.config.dataset.std, device=device).view(1, 3, 1, 1)
    normalized = ((images / 255 - mean) / std).to(torch.bfloat16)
    padded = functional.pad(normalized, (PADDING,) * 4).contiguous(
        memory_format=torch.channels_last
    )
    network = torch.compile(entry.build_network().to(memory_format=torch.channels_last))
    fused = device.type == "cuda"
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=fused
    )
    for _ in range(entry.epochs):
        with entry.epoch():
            network.train()
            augmented, order = augment(padded, size), torch.randperm(entry.images, device=device)
            for index in order.split(batch_size):
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    loss = functional.cross_entropy(
                        network(augmented[index]).float(), labels[index]
                    )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                entry.end_step()
    entry.print_result()


if __name__ == "__main__":
    main()
