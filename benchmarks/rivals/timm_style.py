"""A plain loop as timm fine-tunes: random parts, flips and colours, label smoothing, AdamW, one cosine, 10 epochs.

The transforms are timm's defaults (parts of 8 to 100 % of the area, colours by 0.4, bicubic, the middle 87.5 % scored),
in torchvision; AdamW at 3e-4 with a weight decay of 0.05 and one epoch of warm-up is what its users take for so few
pictures. timm itself is not imported.
"""

import math

from network import MEAN, STD, arguments, evaluate, residual_network, train_epoch, write_row
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

EPOCHS, WARMUP = 10, 1
BICUBIC = transforms.InterpolationMode.BICUBIC

given = arguments(__doc__)
ends = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
changed = transforms.Compose(
    [
        transforms.RandomResizedCrop(given.size, interpolation=BICUBIC),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.4, 0.4, 0.4),
        *ends,
    ]
)
whole = transforms.Resize(given.size * 256 // 224, interpolation=BICUBIC)
scored = transforms.Compose([whole, transforms.CenterCrop(given.size), *ends])
train = datasets.ImageFolder(str(given.data / "train"), changed)
val = datasets.ImageFolder(str(given.data / "val"), scored)
train_loader = DataLoader(
    train, batch_size=min(32, len(train)), shuffle=True, drop_last=True, num_workers=given.threads
)
val_loader = DataLoader(val, batch_size=64, num_workers=given.threads)
network = residual_network(given.trunk, num_classes=len(train.classes))
loss_of, optimizer = (
    nn.CrossEntropyLoss(label_smoothing=0.1),
    optim.AdamW(network.parameters(), 3e-4, weight_decay=0.05),
)
steps = len(train_loader)


def rate(step: int) -> float:
    """Return the share of the full rate at a step."""
    if step < WARMUP * steps:
        return (step + 1) / (WARMUP * steps)
    return (1 + math.cos(math.pi * (step - WARMUP * steps) / ((EPOCHS - WARMUP) * steps))) / 2


scheduler = optim.lr_scheduler.LambdaLR(optimizer, rate)
for epoch in range(1, EPOCHS + 1):
    train_epoch(network, train_loader, loss_of, optimizer, scheduler)
    accuracy, seconds = evaluate(network, val_loader)
    write_row(given.output, epoch=epoch, accuracy=accuracy, evaluating=seconds)
