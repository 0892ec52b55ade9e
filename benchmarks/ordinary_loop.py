"""The ordinary loop, as popular tutorial scripts train CIFAR-10: the first yardstick of `augean
bench`.

DataLoader workers, PIL transforms image by image, fp32, contiguous layout, `loss.item()` each step.
The images are noise, handed out as torchvision's CIFAR10 hands out its own: an array turned into a
PIL image.
"""

import numpy
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from augean.benchmark.entry import NUM_CLASSES, Entry

NUM_WORKERS = 2


class Noise(Dataset):
    def __init__(self, count: int, size: int, transform: transforms.Compose) -> None:
        generator = numpy.random.default_rng(0)
        self.images = generator.integers(0, 256, (count, size, size, 3), dtype=numpy.uint8)
        self.labels = generator.integers(0, NUM_CLASSES, count).tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def main() -> None:
    entry = Entry.from_command_line()
    device = entry.device
    size = entry.config.dataset.image_size
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=size // 8),  # 4 of 32 pixels, as scripts do
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ]
    )
    data = Noise(entry.images, size, transform)
    loader = DataLoader(
        data, batch_size=entry.config.trainer.batch_size, shuffle=True, num_workers=NUM_WORKERS
    )
    network = entry.build_network()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(entry.epochs):
        with entry.epoch():
            network.train()
            train_loss, correct = 0.0, 0
            for inputs, targets in loader:
                inputs, targets = inputs.to(device), targets.to(device)
                optimizer.zero_grad()
                outputs = network(inputs)
                loss = criterion(outputs, targets)
                loss.backward()
                optimizer.step()
                train_loss += loss.item()
                correct += outputs.argmax(1).eq(targets).sum().item()
                entry.end_step()
    entry.print_result()


if __name__ == "__main__":
    main()
