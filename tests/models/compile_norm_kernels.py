"""Compile the fused kernels for a GPU of compute capability 9.0, without one; see
test_norm_activation.py.
"""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from augean.models import norm_kernels

TYPES = {
    "x_pointer": "*bf16",
    "y_pointer": "*bf16",
    "residual_pointer": "*bf16",
    "gradient_pointer": "*bf16",
    "inner_pointer": "*bf16",
    "x_gradient_pointer": "*bf16",
    "num_batches_pointer": "*i64",
    "eps": "fp32",
    "momentum": "fp32",
    "slope": "fp32",
}
"""Types of arguments; other pointers are to fp32, other numbers are i32."""
CONSTANTS = {"ROWS": 32, "COLUMNS": 64, "BLOCKS": 512, "HAS_RESIDUAL": True}
NAMES = (
    "sum_blocks",
    "join_blocks",
    "apply_norm",
    "sum_gradient_blocks",
    "join_gradient_blocks",
    "apply_norm_gradient",
)

for name in NAMES:
    kernel = getattr(norm_kernels, name)
    for activation in (0, 1):
        constants = {**CONSTANTS, "ACTIVATION": activation}
        if "join" in name:
            constants["COLUMNS"] = 8
        signature = {}
        constexprs = {}
        for argument in kernel.arg_names:
            if argument in constants:
                signature[argument] = "constexpr"
                constexprs[argument] = constants[argument]
            else:
                default = "*fp32" if argument.endswith("_pointer") else "i32"
                signature[argument] = TYPES.get(argument, default)
        source = ASTSource(kernel, signature, constexprs)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        assert len(compiled.asm["cubin"]) > 0
