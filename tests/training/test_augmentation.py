"""Batched augmentation has the distribution of torchvision's per-image transforms."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from augean.training.augmentation import (
    crop_and_flip,
    cutout,
    mixup,
    normalize,
    pad,
    random_boxes,
    resized_crop,
)

SIZE, PADDING = 8, 2
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def images(count: int, size: int = SIZE) -> Tensor:
    """Distinct uint8 images [N, H, W, 3] without zero pixels."""
    return torch.randint(1, 256, (count, size, size, 3), dtype=torch.uint8)


def test_every_result_is_a_crop_of_the_padded_image_and_all_are_equally_likely() -> None:
    image = images(1)
    padded = pad(image, PADDING)
    chw = padded[0].permute(2, 0, 1)
    offsets = range(2 * PADDING + 1)
    possible = {}
    for flipped in (False, True):
        for top in offsets:
            for left in offsets:
                crop = chw[:, top : top + SIZE, left : left + SIZE]
                possible[(crop.flip(2) if flipped else crop).numpy().tobytes()] = (
                    flipped,
                    top,
                    left,
                )
    count = 20_000
    batch = crop_and_flip(padded, torch.zeros(count, dtype=torch.int64), SIZE, flip=True)
    tally = dict.fromkeys(possible.values(), 0)
    for result in batch:
        tally[possible[result.contiguous().numpy().tobytes()]] += (
            1  # KeyError: no crop of the image
        )
    expected = count / len(tally)
    chi_squared = sum((seen - expected) ** 2 / expected for seen in tally.values())
    assert chi_squared < 100  # 49 degrees of freedom: the 99.99 % point is 94


def test_the_distribution_is_torchvisions() -> None:
    image = images(1)
    count = 4_000
    ours = crop_and_flip(
        pad(image, PADDING), torch.zeros(count, dtype=torch.int64), SIZE, flip=True
    ).float()
    transform = v2.Compose([v2.RandomCrop(SIZE, padding=PADDING), v2.RandomHorizontalFlip()])
    theirs = torch.stack([transform(image[0].permute(2, 0, 1)) for _ in range(count)]).float()
    error = theirs.std(0) / count**0.5
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    assert ((ours.std(0) - theirs.std(0)).abs() < 6 * error).all()


def test_images_of_a_batch_are_cropped_and_flipped_independently() -> None:
    batch = crop_and_flip(
        pad(images(1), PADDING), torch.zeros(64, dtype=torch.int64), SIZE, flip=True
    )
    assert len({image.contiguous().numpy().tobytes() for image in batch}) > 20


def test_without_augmentation_a_batch_is_the_images_themselves() -> None:
    all_images, index = images(10), torch.tensor([3, 1, 7])
    batch = crop_and_flip(pad(all_images, 0), index, SIZE, flip=False)
    assert torch.equal(batch, all_images[index].permute(0, 3, 1, 2))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_a_cropped_batch_is_channels_last() -> None:
    batch = crop_and_flip(pad(images(4), PADDING), torch.arange(4), SIZE, flip=True)
    assert batch.shape == (4, 3, SIZE, SIZE)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_is_torchvisions() -> None:
    batch = images(5).permute(0, 3, 1, 2)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    theirs = v2.functional.normalize(
        v2.functional.to_dtype(batch, torch.float32, scale=True), mean, std
    )
    torch.testing.assert_close(
        normalize(batch, torch.tensor(mean), torch.tensor(std)), theirs, rtol=1e-5, atol=1e-6
    )


def test_cutout_erases_one_square_clipped_at_the_border() -> None:
    batch = cutout(torch.ones(500, 3, 16, 16), side=6)
    erased = batch[:, 0] == 0
    assert torch.equal(batch == 0, erased.unsqueeze(1).expand(-1, 3, -1, -1))
    for mask in erased:
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 3 <= len(rows) <= 6
        assert 3 <= len(columns) <= 6
    inner = erased[:, 8, 8].float().mean().item()
    assert inner == pytest.approx((6 / 16) ** 2, abs=0.06)


def test_mixup_mixes_each_image_with_its_partner_by_one_beta_weight() -> None:
    batch = torch.rand(32, 3, 4, 4)
    weights = []
    for _ in range(400):
        mixed, partner, weight = mixup(batch, alpha=0.5)
        torch.testing.assert_close(mixed, weight * batch + (1 - weight) * batch[partner])
        assert sorted(partner.tolist()) == list(range(32))
        weights.append(weight.item())
    drawn = torch.tensor(weights)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.06)
    assert drawn.var().item() == pytest.approx(1 / 8, abs=0.02)  # of Beta(a, a): 1 / (4 (2a + 1))


def test_a_resized_crop_equals_torchvisions_of_the_same_box() -> None:
    batch = images(50, 20)
    torch.manual_seed(1)
    boxes = random_boxes(50, 20, 0.1, CPU)
    torch.manual_seed(1)
    crops = resized_crop(batch, 0.1, flip=False)
    for image, box, crop in zip(batch, boxes.T.tolist(), crops, strict=True):
        chw = image.permute(2, 0, 1)
        expected = v2.functional.resized_crop(chw, *box, size=[20, 20], antialias=True)
        # Halves may be rounded up or down.
        assert (crop.int() - expected.int()).abs().max() <= 1


def test_boxes_have_the_distribution_of_torchvisions() -> None:
    count, size = 20_000, 32
    ours = random_boxes(count, size, 0.1, CPU).double()
    assert (ours[:2] >= 0).all()
    assert (ours[0] + ours[2] <= size).all()
    assert (ours[1] + ours[3] <= size).all()
    whole = torch.zeros(3, size, size)
    drawn = [
        v2.RandomResizedCrop.make_params(v2.RandomResizedCrop(size, scale=(0.1, 1)), [whole])
        for _ in range(count)
    ]
    names = ("top", "left", "height", "width")
    theirs = torch.tensor([[box[name] for box in drawn] for name in names]).double()
    torch.testing.assert_close(ours.mean(1), theirs.mean(1), rtol=0.03, atol=0)
    torch.testing.assert_close(ours.std(1), theirs.std(1), rtol=0.03, atol=0)


def test_half_of_the_resized_crops_are_mirrored() -> None:
    # Brighter from left to right, so that the direction shows.
    ramp = torch.arange(0, 200, 10, dtype=torch.uint8).view(1, 1, 20, 1).expand(4000, 20, 20, 3)
    crops = resized_crop(ramp, 0.5, flip=True).int()
    mirrored = crops[:, 0, 0, 0] > crops[:, 0, 0, -1]
    assert 0.45 < mirrored.double().mean() < 0.55


def test_a_crop_of_the_whole_area_keeps_the_image() -> None:
    batch = images(5, 20)
    # Only a square has the whole area and fits.
    assert torch.equal(resized_crop(batch, 1.0, flip=False), batch.permute(0, 3, 1, 2))
