#!/usr/bin/env bash
# A pass over all of the course report's sweeps for two old CPU cores, in some hours: the runs of results/reduced.
# The setting was chosen before any of its results was seen, by what a run costs there:
#   CIFAR-10 (JPEG copy) at 16x16 instead of 32x32 pixels, crops padded by 2 instead of 4; 5,000 training and 1,000
#   validation images, all 10,000 for the test; C = 8 (4 and 16 in Table 3); 10 epochs in place of 35 and, by the same
#   ratio, 34 of 120, 57 of 200, and a patience of 2 in place of 9; Part 2 in the starter setting at C = 16, all 20 epochs.
#   Three seeds as in the sweep files; Table 1 is then settled with at most 24 more runs; tuning with 8 trials an
#   optimizer, 12 for the final model.
# The last sweep, each optimizer at four learning rates, was added when the others were known; its setting is theirs, and its
# column 0.1 is Table 4.
# Needs <DATA>/cifar10-jpeg/{train,test}/<class>/*. Interrupted, the same command goes on.
#   DATA=data OUTPUTS=outputs WORKERS=2 results/reduced.sh
set -uo pipefail
failed=0
common=(
    dataset=image_folder dataset.name=cifar10-jpeg "runtime.data=${DATA:-data}"
    'runtime.dataset_title="CIFAR-10 (JPEG copy), 16x16"'
    dataset.image_size=16 dataset.crop_padding=2 dataset.num_train=5000 dataset.num_val=1000
    trainer.precision=fp32 runtime.progress=none
    "runtime.workers=${WORKERS:-2}"
)
outputs=${OUTPUTS:-outputs}
sweep() { # name, overrides
    augean train -cn "$1" "${common[@]}" "runtime.outputs=$outputs" "${@:2}" || failed=1
}
part1=(width=w8 trainer.epochs=10 schedule.patience=2)
part2=(width=w16)

for name in table1_activation table2_weight_decay table4_optimizer; do
    sweep "$name" "${part1[@]}"
done
sweep table3_width "${part1[@]}" width.channels=4,8,16 runtime.table.baseline=8
sweep recipe "${part1[@]}"
sweep stem "${part1[@]}"
sweep dropout "${part1[@]}"
sweep batchnorm "${part2[@]}"
sweep landscape "${part2[@]}"
sweep probe "${part2[@]}" seed=0,1,2
sweep batchnorm_sgd "${part1[@]}"
sweep final width=w8 trainer.epochs=34 schedule.patience=2
sweep stock width=w8 trainer.epochs=57
augean settle table1_activation --outputs "$outputs" --budget 24runs -- "${common[@]}" "${part1[@]}" || failed=1
for optimizer in sgd adam adagrad rmsprop; do
    sweep "tune_$optimizer" "${part1[@]}" hydra.sweeper.n_trials=8
done
sweep table4_tuned "${part1[@]}"
sweep tune_final width=w8 trainer.epochs=34 schedule.patience=2 hydra.sweeper.n_trials=12
sweep optimizer_lr "${part1[@]}"
exit $failed
