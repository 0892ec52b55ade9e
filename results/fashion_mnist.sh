#!/usr/bin/env bash
# Fashion-MNIST for a few CPU cores in some hours: the runs of results/fashion_mnist.
# The setting was fixed before any of its results was seen: the sweep file's, with C = 16 in place of 64 and fp32 in place
# of bf16, as the processor had no bf16.
# The files are downloaded where neither <DATA> nor Debian's package dataset-fashion-mnist has them. Interrupted, the same
# command goes on.
#   DATA=data OUTPUTS=outputs WORKERS=1 results/fashion_mnist.sh
set -euo pipefail
augean train -cn fashion_mnist width=w16 trainer.precision=fp32 \
    "runtime.data=${DATA:-data}" "runtime.outputs=${OUTPUTS:-outputs}" "runtime.workers=${WORKERS:-1}" \
    runtime.progress=none
