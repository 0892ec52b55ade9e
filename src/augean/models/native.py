"""The mark of `activation=native`: a network keeps the activations that it was published with."""

from torch import nn


class Native(nn.Module):
    """Stands for a network's own activations, of whatever kind.

    A network class names in `native_groups` the config groups that it does not take. Only then is
    the option `native` of these groups valid, and no other; see `augean.training.build`.
    """
