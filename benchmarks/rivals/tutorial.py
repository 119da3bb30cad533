"""The usual tutorial: the whole network with a new head, Adam at 1e-3, batches of 32, 5 epochs, no augmentation."""

from network import MEAN, STD, arguments, evaluate, residual_network, train_epoch, write_row
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

given = arguments(__doc__)
seen = transforms.Compose(
    [
        transforms.Resize(given.size * 256 // 224),
        transforms.CenterCrop(given.size),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)
train, val = (datasets.ImageFolder(str(given.data / part), seen) for part in ("train", "val"))
train_loader = DataLoader(train, batch_size=32, shuffle=True, num_workers=given.threads)
val_loader = DataLoader(val, batch_size=32, num_workers=given.threads)
network = residual_network(given.trunk, num_classes=len(train.classes))
loss_of, optimizer = nn.CrossEntropyLoss(), optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(1, 6):
    train_epoch(network, train_loader, loss_of, optimizer)
    accuracy, seconds = evaluate(network, val_loader)
    write_row(given.output, epoch=epoch, accuracy=accuracy, evaluating=seconds)
