"""The nets of bench.py in torch.nn, layer by layer and with the same order of parameters.

ReLU and the sums of ResNet-50 run in place, as in torchvision's nets.
"""

from __future__ import annotations

import torch
from detectors import CLASSES, EXTRAS, PAIRS, PRIORS
from torch import Tensor, nn


def loss(outputs: Tensor | tuple[Tensor, ...], labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Compute the cross entropy; that of auxiliary classifiers counts 0.3. With targets, it is a detector's loss."""
    if targets is not None:
        scores, places = outputs
        distance = nn.functional.smooth_l1_loss(places, targets, reduction="sum") / len(targets)
        return nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten()) + distance
    scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    total = nn.functional.cross_entropy(scores, labels)
    for other in auxiliary:
        total = total + 0.3 * nn.functional.cross_entropy(other, labels)
    return total


def max_pool(kernel: int, stride: int, pad: int = 0) -> nn.Module:
    return nn.MaxPool2d(kernel, stride, pad, ceil_mode=True)


def ave_pool(kernel: int, stride: int = 1) -> nn.Module:
    return nn.AvgPool2d(kernel, stride, ceil_mode=True)


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0, group: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=group), relu())


def linear(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, outputs), relu(), nn.Dropout(dropout))


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), max_pool(2, 2)),
        *(nn.Conv2d(20, 50, 5), max_pool(2, 2)),
        *(nn.Flatten(), nn.Linear(800, 500), relu(), nn.Linear(500, 10)),
    )


def cifar10_quick() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), max_pool(3, 2), relu()),
        *(convolution(32, 32, 5, pad=2), ave_pool(3, 2)),
        *(convolution(32, 64, 5, pad=2), ave_pool(3, 2)),
        *(nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 10)),
    )


def caffenet() -> nn.Module:
    return nn.Sequential(
        *(convolution(3, 96, 11, stride=4), max_pool(3, 2), norm()),
        *(convolution(96, 256, 5, pad=2, group=2), max_pool(3, 2), norm()),
        convolution(256, 384, 3, pad=1),
        convolution(384, 384, 3, pad=1, group=2),
        *(convolution(384, 256, 3, pad=1, group=2), max_pool(3, 2)),
        *(nn.Flatten(), linear(9216, 4096, 0.5), linear(4096, 4096, 0.5), nn.Linear(4096, 1000)),
    )


class Inception(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and pooling in parallel; ``reduce`` maps enter the 3x3 and the 5x5."""

    def __init__(self, inputs: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> None:
        super().__init__()
        self.one = convolution(inputs, one, 1)
        self.three = nn.Sequential(convolution(inputs, reduce3, 1), convolution(reduce3, three, 3, pad=1))
        self.five = nn.Sequential(convolution(inputs, reduce5, 1), convolution(reduce5, five, 5, pad=2))
        self.pool = nn.Sequential(max_pool(3, 1, 1), convolution(inputs, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class GoogLeNet(nn.Module):
    """GoogLeNet; in training it returns the scores of its three classifiers, the main one first."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Sequential(
            *(convolution(3, 64, 7, stride=2, pad=3), max_pool(3, 2), norm()),
            *(convolution(64, 64, 1), convolution(64, 192, 3, pad=1), norm(), max_pool(3, 2)),
            Inception(192, 64, 96, 128, 16, 32, 32),
            *(Inception(256, 128, 128, 192, 32, 96, 64), max_pool(3, 2)),
            Inception(480, 192, 96, 208, 16, 48, 64),
        )
        self.first = self.auxiliary(512)
        self.middle = nn.Sequential(
            Inception(512, 160, 112, 224, 24, 64, 64),
            Inception(512, 128, 128, 256, 24, 64, 64),
            Inception(512, 112, 144, 288, 32, 64, 64),
        )
        self.second = self.auxiliary(528)
        self.top = nn.Sequential(
            *(Inception(528, 256, 160, 320, 32, 128, 128), max_pool(3, 2)),
            Inception(832, 256, 160, 320, 32, 128, 128),
            Inception(832, 384, 192, 384, 48, 128, 128),
            *(ave_pool(7), nn.Dropout(0.4), nn.Flatten(), nn.Linear(1024, 1000)),
        )

    @staticmethod
    def auxiliary(inputs: int) -> nn.Module:
        return nn.Sequential(
            *(ave_pool(5, 3), convolution(inputs, 128, 1)),
            *(nn.Flatten(), linear(2048, 1024, 0.7), nn.Linear(1024, 1000)),
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        low = self.bottom(x)
        middle = self.middle(low)
        scores = self.top(middle)
        return (scores, self.first(low), self.second(middle)) if self.training else scores


def normalised(inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False), nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """A bottleneck block; its stride is in the first 1x1 convolution."""

    def __init__(self, inputs: int, maps: int, stride: int) -> None:
        super().__init__()
        same = inputs == 4 * maps and stride == 1
        self.shortcut = nn.Identity() if same else normalised(inputs, 4 * maps, 1, stride)
        self.branch = nn.Sequential(
            *(normalised(inputs, maps, 1, stride), relu()),
            *(normalised(maps, maps, 3, pad=1), relu()),
            normalised(maps, 4 * maps, 1),
        )
        self.relu = relu()

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        y += self.shortcut(x)
        return self.relu(y)


def resnet50() -> nn.Module:
    blocks = []
    inputs = 64
    for maps, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            blocks.append(Bottleneck(inputs, maps, 2 if block == 0 and maps > 64 else 1))
            inputs = 4 * maps
    return nn.Sequential(
        *(normalised(3, 64, 7, stride=2, pad=3), relu(), max_pool(3, 2)),
        *blocks,
        *(ave_pool(7), nn.Flatten(), nn.Linear(2048, 1000)),
    )


class Fire(nn.Module):
    """A 1x1 convolution that squeezes, then a 1x1 and a 3x3 in parallel that expand."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = convolution(inputs, squeezed, 1)
        self.one = convolution(squeezed, expanded, 1)
        self.three = convolution(squeezed, expanded, 3, pad=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.one(x), self.three(x)], 1)


def squeezenet() -> nn.Module:
    return nn.Sequential(
        *(convolution(3, 64, 3, stride=2), max_pool(3, 2)),
        *(Fire(64, 16, 64), Fire(128, 16, 64), max_pool(3, 2)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), max_pool(3, 2)),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
        *(nn.Dropout(0.5), convolution(512, 1000, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


class MobileNetSSD(nn.Module):
    """MobileNet-SSD: the scores (N, priors, classes) and the places (N, 4 priors)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"conv0": nn.Sequential(normalised(3, 32, 3, 2, 1), relu())})
        channels = 32
        for number, (outputs, stride) in enumerate(PAIRS, 1):
            depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
            self.body[f"conv{number}"] = nn.Sequential(
                *(depthwise, nn.BatchNorm2d(channels), relu(), normalised(channels, outputs, 1), relu())
            )
            channels = outputs
        for number, (least, most) in enumerate(EXTRAS, 14):
            self.body[f"conv{number}_2"] = nn.Sequential(
                *(normalised(channels, least, 1), relu(), normalised(least, most, 3, 2, 1), relu())
            )
            channels = most
        inputs = 512, 1024, *(most for _, most in EXTRAS)
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, each * priors, 1)
            for channels, priors in zip(inputs, PRIORS.values(), strict=True)
            for each in (4, CLASSES)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found, heads = [], iter(self.heads)
        for name, block in self.body.items():
            x = block(x)
            if name in PRIORS:
                found.append([next(heads)(x).permute(0, 2, 3, 1).flatten(1) for _ in range(2)])
        places, scores = (torch.cat(each, 1) for each in zip(*found, strict=True))
        return scores.reshape(len(x), -1, CLASSES), places


NETS = {
    "lenet": lenet,
    "cifar10_quick": cifar10_quick,
    "caffenet": caffenet,
    "googlenet": GoogLeNet,
    "resnet50": resnet50,
    "squeezenet": squeezenet,
    "mobilenet_ssd": MobileNetSSD,
}
