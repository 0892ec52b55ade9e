#!/usr/bin/env bash
# Full images and the full training set, for a few CPU cores with bf16 in a day: the runs of results/cifar32.
# The setting was fixed before any of its results was seen:
#   CIFAR-10 (JPEG copy) at 32x32 pixels, 45,000 training and 5,000 validation images, all 10,000 for the test;
#   C = 16 (8, 16, 32 in Table 3) in place of 64; bf16; 12 epochs in place of 35 and, by the same ratio, a patience of 3
#   in place of 9; all else as in the sweep files. Part 2 in the starter setting at C = 16, all 20 epochs.
#   Three seeds as in the sweep files. Table 1 is then settled with margin 1 and at most 30 more runs; Table 4 gets equal
#   budgets of 8 trials an optimizer.
# The two probes of the loss landscape in fp32, in which they measure: decided before their first run, as the processor at
# hand had no bf16. Their table compares them with one another alone.
# In this order: Tables 1 to 4; Table 1 settled; batchnorm and stem; Table 4 tuned; the two probes of the loss landscape. The
# rest of the sweep files (final, stock, recipe, tuning of the final model) is for a GPU.
# Needs <DATA>/cifar10-jpeg/{train,test}/<class>/*. Interrupted, the same command goes on.
#   DATA=data OUTPUTS=outputs WORKERS=1 results/cifar32.sh
set -uo pipefail
failed=0
common=(
    dataset=image_folder dataset.name=cifar10-jpeg "runtime.data=${DATA:-data}"
    'runtime.dataset_title="CIFAR-10 (JPEG copy)"'
    runtime.progress=none
    "runtime.workers=${WORKERS:-1}"
)
outputs=${OUTPUTS:-outputs}
sweep() { # name, overrides
    augean train -cn "$1" "${common[@]}" "runtime.outputs=$outputs" "${@:2}" || failed=1
}
part1=(width=w16 trainer.epochs=12 schedule.patience=3)
part2=(width=w16)

for name in table1_activation table2_weight_decay; do
    sweep "$name" "${part1[@]}"
done
sweep table3_width "${part1[@]}" width=w8,w16,w32 runtime.table.baseline=16
sweep table4_optimizer "${part1[@]}"
augean settle table1_activation --outputs "$outputs" --margin 1 --budget 30runs -- \
    "${common[@]}" "${part1[@]}" || failed=1
sweep batchnorm "${part2[@]}"
sweep stem "${part1[@]}"
for optimizer in sgd adam adagrad rmsprop; do
    sweep "tune_$optimizer" "${part1[@]}" hydra.sweeper.n_trials=8
done
sweep table4_tuned "${part1[@]}"
sweep probe "${part2[@]}" seed=0,1,2 trainer.precision=fp32
sweep probe_sgd "${part2[@]}" seed=0,1,2 trainer.precision=fp32
exit $failed
