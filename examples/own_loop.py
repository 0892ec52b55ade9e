"""A training loop of one's own, in plain PyTorch, as runs of Augean: kill it at any time and start
it again.

python examples/own_loop.py && augean report
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import augean

EPOCHS = 15
digits = load_digits()
images, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
train, val, test = order[:1197], order[1197:1497], order[1497:]


def accuracy(network: nn.Module, index: torch.Tensor) -> float:
    with torch.no_grad():
        return (network(images[index]).argmax(1) == labels[index]).float().mean().item()


for hidden in (8, 32):
    for seed in (0, 1, 2):
        config = {"name": "mlp", "hidden": hidden, "lr": 0.01, "epochs": EPOCHS, "seed": seed}
        with augean.run(config, table="Own loop", row=f"{hidden} units", baseline="8 units") as run:
            torch.manual_seed(seed)
            network = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
            optimizer = torch.optim.Adam(network.parameters(), lr=config["lr"])
            if (state := run.load()) is not None:  # an interrupted run goes on
                network.load_state_dict(state["network"])
                optimizer.load_state_dict(state["optimizer"])
            for epoch in run.epochs(EPOCHS):  # none of a finished run
                torch.manual_seed(
                    seed * 1000 + epoch
                )  # so that a resumed run draws as an unbroken one would
                losses = []
                for batch in train[torch.randperm(len(train))].split(64):
                    loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
                run.log(train_loss=sum(losses) / len(losses), val_accuracy=accuracy(network, val))
                run.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()})
            run.finish(test_accuracy=accuracy(network, test), dataset_title="digits", num_test=300)
