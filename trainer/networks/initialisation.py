"""Kaiming initialisation (paper, section 3.1), and the slope of the LeakyReLU that it is for."""

from torch import nn

SLOPE = 0.1


def init_kaiming(module: nn.Module) -> None:
    """Kaiming initialisation of every convolution and FC layer, for LeakyReLU(0.1)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
