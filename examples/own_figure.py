"""A figure of one's own: test accuracy against seconds of training, one colour for each row of a
table.
"""

import sys

import matplotlib.pyplot as plt

from augean.report import load_runs

runs = load_runs(sys.argv[1] if len(sys.argv) > 1 else "outputs", "state=finished")
for row, own in runs.groupby("tables"):
    plt.scatter(
        own.seconds, 100 * own.test_accuracy, label=f"{row or 'in no table'} (n={len(own)})"
    )
plt.xlabel("seconds")
plt.ylabel("test accuracy, %")
plt.legend()
plt.savefig("own_figure.png", dpi=160)
