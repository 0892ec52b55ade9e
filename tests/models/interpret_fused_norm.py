"""Compare the fused pass with the modules in float64; see test_norm_activation.py.

To be run with TRITON_INTERPRET=1, which needs no GPU.
"""

import sys

import torch
from torch import Tensor

from norm_reference import ACTIVATIONS, compare_with_modules

# Rows that do not fill a tile; several blocks; more columns than one tile has.
SHAPES = [(2, 3, 5, 5), (6, 16, 20, 20), (3, 72, 4, 4)]


def check(title: str, fused: Tensor, exact: Tensor) -> None:
    torch.testing.assert_close(
        fused.double(), exact, rtol=2e-5, atol=2e-4, msg=lambda text: f"{title}: {text}"
    )


torch.manual_seed(0)
for shape in SHAPES:
    for with_residual in (False, True):
        results = compare_with_modules(ACTIVATIONS[sys.argv[1]], shape, with_residual=with_residual)
        for name, (fused, exact) in results.items():
            check(f"{shape}, {name}", fused, exact)
