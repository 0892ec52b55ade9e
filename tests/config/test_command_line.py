"""Mistakes as users make them, at the real entry points: what is wrong, where, and what to type
instead.
"""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import augean.cli.main
import augean.hydra_main
from augean.config import paths
from augean.config.command_line import check_command_line
from augean.config.override_errors import explain_error
from augean.errors import AugeanError
from augean.regular_files import read_regular
from conftest import ROOT, TINY

SMALL = " ".join(["train.py", *TINY])
DIGITS = "train.py dataset=digits width.channels=4"
STUDY = "train.py -m hydra.sweeper.n_trials=3 dataset=digits"

# Command line, exit code, parts of the message in their order.
MISTAKES: list[tuple[str, int, list[str]]] = [
    # groups and their options
    ("train.py modle=resnet18", 1, ["modle=resnet18: there is no key modle", "did you mean model=resnet18?"]),
    ("train.py model=resnet19", 1, ["model=resnet19: no such option; did you mean model=resnet18? There are", "vgg_a"]),
    ("train.py model=resnet-18", 1, ["did you mean model=resnet18?"]),
    ("train.py optimizer=sdg", 1, ["optimizer=sdg: no such option; did you mean optimizer=sgd?", "adam, adamw"]),
    ("train.py optimizer=SGD", 1, ["did you mean optimizer=sgd?"]),
    ("train.py activation=leakyrelu", 1, ["did you mean activation=leaky_relu?"]),
    ("train.py dataset=CIFAR-10", 1, ["did you mean dataset=cifar10?"]),
    ("train.py regularization=l2_1e4", 1, ["did you mean regularization=l2_1e-4?"]),
    ("train.py experiment=dmeo", 1, ["experiment=dmeo: no such option; did you mean experiment=demo?"]),
    ("train.py schedule=linear", 1, ["schedule=linear: no such option. There are constant, cosine"]),
    ("train.py width=64", 1, ["width=64: takes the name of an option; did you mean width=w64?", "width.channels=64"]),
    ("train.py optimizer=0.1", 1, ["optimizer=0.1: takes the name of an option", "optimizer.lr=0.1"]),
    ("train.py optimizer=null", 1, ["optimizer=null: takes the name of an option", "adagrad, adam"]),
    ("train.py +model=resnet18", 1, ["+model=resnet18: the config has a model already", "+ out: model=resnet18"]),
    ("train.py -m optimizer=[sgd,adam]", 1, ["a list mixes options in one run", "-m optimizer=sgd,adam"]),
    ("train.py hydra/sweeper=optuna -m seed=0,1", 1, ["hydra/sweeper=optuna", "leave this out", "n_trials"]),
    ("train.py -m +optimizer=[sgd,adam]", 1, ["a list mixes options in one run", "-m optimizer=sgd,adam"]),
    ("train.py +hydra/sweeper=basic -m seed=0,1", 1, ["leave this out"]),
    ("train.py trainer=fast", 1, ["trainer=fast: trainer takes no value itself", "trainer.epochs, trainer.batch_size"]),
    # several values, where one is taken
    ("train.py seed=0..2", 1, ["seed=0..2: must be a whole number", "several values are a sweep: -m seed=0,1,2"]),
    ("train.py seed=0-2", 1, ["-m seed=0,1,2"]),
    ("train.py seed=0:99", 1, ["-m seed=range(0,100)"]),
    ("train.py seed=[0,1]", 1, ["seed=[0,1]: must be a whole number", "-m seed=0,1"]),
    ("train.py -m seed=[0,1]", 1, ["several values are a sweep: seed=0,1"]),
    ("train.py optimizer.lr=[0.1,0.2]", 1, ["must be a number", "-m optimizer.lr=0.1,0.2"]),
    ("train.py -m seed=0,1 --cfg job", 2, ["-m --cfg job: --cfg prints the config of one run; leave -m out"]),
    ("train.py seed=0,1 --cfg job", 1, ["--cfg prints the config of one run; give one value"]),
    ("train.py -cn table1_activation -cn table2_weight_decay", 2, ["-cn table1_activation -cn table2_weight_decay: takes one name"]),
    ("train.py -cd sweeps -cd conf -cn probe", 2, ["-cd sweeps -cd conf: takes one"]),
    # a + too many, and quotes that a shell does not take off
    ("train.py +seed=1", 1, ["+seed=1: the config has seed already; leave the + out: seed=1"]),
    ("train.py ++activation=relu", 1, ["an option of a group; leave the + out: activation=relu"]),
    ("train.py -m \"'activation=relu,elu'\"", 1, ["the quotes are part of what arrived", "activation=relu,elu"]),
    ("train.py -m model.stem=choice(null,cifar)", 1, ["null is no argument of a function", "model.stem=null,"]),
    # keys of Hydra's, which `--cfg job` does not print
    ("train.py -m seed=0,1 hydra.sweeper.foo=1", 1, ["there is no key hydra.sweeper.foo", "There are ablate", "n_trials"]),
    ("train.py hydra.foo=1", 1, ["there is no key hydra.foo", "There are", "sweeper"]),
    ("train.py -m seed=0,1 hydra.sweeper._target_=os.system", 1, ["os.system is not a sweeper", "leave its _target_ out"]),
    # passwords
    (
        f"{STUDY} activation=relu,elu hydra.sweeper.storage=sqlite:////x?user=me&password=hunter2;",
        1,
        ["password=***", "cannot be read"],
    ),
    (
        "augean status -m hydra.sweeper.storag=postgresql://me:s3cret@h/db seed=0,1",
        1,
        ["hydra.sweeper.storag=postgresql://me:***@h/db: there is no key"],
    ),
    ("augean submit --storage=postgresql://me:s3cret@h/db", 2, ["--storage=postgresql://me:***@h/db: no such option"]),
    # keys
    ("train.py lr=0.1", 1, ["lr=0.1: there is no key lr; did you mean optimizer.lr=0.1?"]),
    ("train.py epochs=3", 1, ["did you mean trainer.epochs=3?"]),
    ("train.py batch_size=64", 1, ["did you mean trainer.batch_size=64?"]),
    ("train.py learning_rate=0.1", 1, ["did you mean optimizer.lr=0.1?"]),
    ("train.py gpu=1", 1, ["gpu=1: there is no key gpu; did you mean runtime.device=cuda:1?"]),
    ("train.py amp=true", 1, ["did you mean trainer.precision=bf16?"]),
    ("train.py loss=mse", 1, ["loss=mse: there is no key loss; `python train.py --cfg job` prints all keys"]),
    ("train.py data=digits", 1, ["did you mean runtime.data=digits or dataset=digits?"]),
    ("train.py optimizer.lrr=0.1", 1, ["there is no key optimizer.lrr; did you mean optimizer.lr=0.1?"]),
    ("train.py trainer.epoch=3", 1, ["did you mean trainer.epochs=3?"]),
    ("train.py +typo=1", 1, ["+typo=1: there is no key typo", "--cfg job` prints all keys"]),
    ("train.py ~sed", 1, ["~sed: there is no key sed; did you mean seed?"]),
    ("train.py +optimizer.nesterov=true", 1, ["did you mean ++optimizer.arguments.nesterov=true (an argument of"]),
    (f"{DIGITS} +optimizer.arguments.nestrov=true", 1, ["optimizer.arguments.nestrov: SGD takes no", "nesterov"]),
    ("train.py activation=elu activation.arguments={alpa:2}", 1,
     ["activation.arguments={alpa:2}: there is no key", "did you mean activation.arguments={alpha:2} or ++activation"]),
    ("train.py activation=elu activation.arguments.alpa=2", 1, ["did you mean activation.arguments.alpha=2 or ++"]),
    ("train.py optimizer.arguments={nesterov:true,maximize:true}", 1,
     ["there is no key optimizer.arguments.maximize; did you mean ++optimizer.arguments={nesterov:true,maximize:true} (an"]),
    ("train.py optimizer={lrr:0.1}", 1, ["optimizer={lrr:0.1}: there is no key optimizer.lrr; did you mean optimizer.lr?"]),
    ("train.py optimizer={lr:abc}", 1, ["optimizer={lr:abc}: must be a number, such as optimizer.lr=0.1"]),
    ("train.py optimiser.lr=0.2", 1, ["optimiser.lr=0.2: there is no key", "did you mean optimizer.lr=0.2?"]),
    ("train.py optimizer.weight_decay=0.1", 1, ["did you mean regularization.weight_decay=0.1?"]),
    ("train.py trainer.lr=0.1", 1, ["there is no key trainer.lr; did you mean optimizer.lr=0.1?"]),
    ("train.py -m seed=0,1 n_trials=3", 1, ["there is no key n_trials; did you mean hydra.sweeper.n_trials=3?"]),
    ("train.py -m seed=0,1 direction=minimize", 1, ["did you mean hydra.sweeper.direction=minimize?"]),
    ("train.py max_failures=3", 1, ["did you mean hydra.sweeper.max_failures=3?"]),
    ("train.py confirm.top=3", 1, ["did you mean hydra.sweeper.confirm.top=3?"]),
    ("train.py sampler=tpe", 1, ["did you mean hydra/sweeper/sampler=tpe?"]),
    ("train.py pruner.percentile=30", 1, ["did you mean hydra.sweeper.pruner.percentile=30?"]),
    ("train.py hydra.sweeper.n_trails=3", 1, ["did you mean hydra.sweeper.n_trials=3?"]),
    # values
    ("train.py optimizer.lr=abc", 1, ["optimizer.lr=abc: must be a number, such as optimizer.lr=0.1"]),
    ("train.py optimizer.lr=", 1, ["optimizer.lr=: must be a number"]),
    ("train.py optimizer.lr=nan", 1, ["optimizer.lr=nan: must be a finite number"]),
    ("train.py optimizer.lr=0", 1, ["optimizer.lr=0.0: must be above 0"]),
    ("train.py trainer.epochs=three", 1, ["trainer.epochs=three: must be a whole number, such as trainer.epochs=35"]),
    ("train.py trainer.epochs=2.5", 1, ["trainer.epochs=2.5: must be a whole number"]),
    ("train.py trainer.epochs=-1", 1, ["trainer.epochs=-1: must be at least 1"]),
    ("train.py trainer.deterministic=maybe", 1, ["must be true or false, such as trainer.deterministic=false"]),
    ("train.py trainer.precision=fp64", 1, ["trainer.precision=fp64: must be one of bf16, fp16, fp32"]),
    ("train.py seed=-1", 1, ["seed=-1: must be at least 0 and at most 2147483647"]),
    ("train.py seed=1e3", 1, ["seed=1e3: must be a whole number"]),
    ("train.py dataset.mean=0.5", 1, ["dataset.mean=0.5: must be a list, such as dataset.mean=[0.485,0.456,0.406]"]),
    ("train.py dataset.mean=[a,b,c]", 1, ["dataset.mean=[a,b,c]: must be a list"]),
    ("train.py dataset.mean=[0.5]", 1, ["must be three finite numbers, one per colour channel"]),
    ("train.py runtime.loggers=wandb", 1, ["must be a list, such as runtime.loggers=[wandb]"]),
    ("train.py runtime.loggers=[wandbb]", 1, ["runtime.loggers=[wandbb]: must be one of tensorboard, wandb"]),
    ("train.py regularization.dropout=1.5", 1, ["dropout=1.5: must be at least 0 and at most 0.99"]),
    ("train.py ++optimizer.arguments.weight_decay=1", 1, ["use regularization.weight_decay, its only source"]),
    ("train.py +optimizer.arguments.lr=1", 1, ["optimizer.arguments.lr: use optimizer.lr, its only source"]),
    ("train.py +model.arguments.channels=8", 1, ["model.arguments.channels: use width, its only source"]),
    ("train.py -m seed=0,1 +optimizer.arguments.nesterow=true", 1, ["nesterow: SGD takes no such argument", "in all"]),
    ("train.py runtime.workers=0", 1, ["runtime.workers=0: must be at least 1 and at most 256"]),
    ("train.py runtime.progress=quiet", 1, ["runtime.progress=quiet: must be one of auto, bar, plain, none"]),
    ("train.py optimizer.name=a/b", 1, ["optimizer.name='a/b': letters, digits", "names a folder"]),
    (f"{DIGITS} model.stem=imagnet", 1, ["model.stem=imagnet: must be one of cifar, imagenet"]),
    (f"{DIGITS} dataset.num_val=5000", 1, ["dataset.num_val=5000: there are 1497", "dataset.num_val to 1496 or less"]),
    (f"{DIGITS} dataset.num_val=0", 1, ["schedule=plateau needs a validation loss", "schedule=cosine"]),
    (f"{DIGITS} dataset.image_size=224", 1, ["images of Digits are not resized; set dataset.image_size=16"]),
    (f"{DIGITS} optimizer._target_=torch.optim.Adamm", 1, ["torch.optim has no Adamm"]),
    (f"{DIGITS} model._target_=os.system", 1, ["only classes of torch, torchvision", "runtime.allowed_packages="]),
    # the grammar
    ("train.py optimizer=sgd,adam", 1, ["optimizer=sgd,adam: several values are a sweep", "-m optimizer=sgd,adam"]),
    ("train.py -m optimizer=sgd,sdg", 1, ["optimizer=sdg: no such option; did you mean optimizer=sgd?"]),
    ("train.py -m optimizer.lr=0.1,abc", 1, ["optimizer.lr=abc: must be a number"]),
    ("train.py -m +typo=1,2", 1, ["+typo=1: there is no key typo", "+typo=2: there is no key typo"]),
    ("train.py -m +trainer.lr=1,2", 1, ["+trainer.lr=1: there is no key trainer.lr; did you mean", "optimizer.lr=1"]),
    ("train.py -m width=8,16", 1, ["width=8: takes the name", "width=w8?", "width=16: takes the name", "width=w16?"]),
    ("train.py -m optimizer=sgd, adam", 1, ["optimizer=sgd,: several values", "without blanks", "-m optimizer=a,b"]),
    ("train.py -m seed=0,,1", 1, ["seed=0,,1: several values are written with commas alone", "-m seed=a,b"]),
    ("train.py optimizer:adam", 1, ["optimizer:adam: is not key=value; did you mean optimizer=adam?"]),
    ("train.py optimizer.lr==0.1", 1, ["optimizer.lr==0.1: is not key=value; did you mean optimizer.lr=0.1?"]),
    ("train.py sweeps/table1_activation.yaml", 1, ["is not key=value", "did you mean -cn table1_activation?"]),
    ("train.py own/table.yaml", 1, ["own/table.yaml: is not key=value", "did you mean -cd own -cn table?"]),
    ("train.py -m optimizer.lr=interval(0.1,1)", 1, ["a grid needs a list of values such as optimizer.lr=a,b,c"]),
    ("train.py resnet18", 1, ["resnet18: is not key=value", "did you mean model=resnet18?"]),
    ("train.py table1_activation", 1, ["did you mean -cn table1_activation?"]),
    ("train.py optimizer.lr", 1, ["optimizer.lr: is not key=value", "did you mean optimizer.lr=<value>?"]),
    ("train.py model = resnet18", 1, ["model: is not key=value (no blanks around =)", "model=<value>"]),
    ("train.py =resnet18", 1, ["=resnet18: names no key; settings are written key=value"]),
    ("train.py 'optimizer.lr = 0.2'", 1, ["no blanks around =: optimizer.lr=0.2"]),
    ("train.py runtime.dataset_title=My images", 1, ["images: is not key=value", "takes two pairs of quotes"]),
    ("train.py 'runtime.dataset_title=My images!'", 1, ["cannot be read", """'runtime.dataset_title="My images!"'"""]),
    ("train.py model=[resnet18", 1, ["model=[resnet18: cannot be read"]),
    ("train.py '++runtime.table.reference={\"8\":{seconds:1}}'", 1, ["cannot be read; write the values one by one"]),
    ("train.py -cn table3_width ++runtime.table.reference={32:{seconds:1}}", 1, ["write runtime.table.reference.32=..., or"]),
    # functions of Hydra's
    ("train.py -m activation=choice()", 1, ["activation=choice(): the function choice", "empty choice", "choice(a,b)"]),
    ("train.py -m optimizer.lr=tag(log,0.1,0.2)", 1, ["the function tag does not take that", "tag(log,interval("]),
    (f"{DIGITS} -m optimizer.lr=sort(0.2,0.1),0.3", 1, ["sort(0.2,0.1),0.3: a function with several values", "optimizer.lr=a,b,c"]),
    (f"{STUDY} optimizer.lr=choice(0.2,0.1),0.3", 1, ["a function with several values stands among others"]),
    ("train.py runtime.dataset_title=CIFAR(10)", 1, ["cannot be read", """'runtime.dataset_title="CIFAR(10)"'"""]),
    ("train.py ~optimizer.momentum", 1, ["~optimizer.momentum: is a key that every config has", "optimizer.momentum=null"]),
    ("train.py ~optimizer.lr", 1, ["~optimizer.lr: is a key that every config has; give it another value"]),
    # sweeps without an end
    (f"{DIGITS} -m seed=range(0,100000000)", 1, ["seed=range(0,100000000): makes a sweep of 100,000,000 runs", "100,000"]),
    (f"{DIGITS} -m seed=range(0,1000) optimizer.lr=range(0.1,100,0.1)", 1, ["seed=range(0,1000): makes a sweep of 999,000 runs"]),
    (f"{DIGITS} -m seed=range(0,inf)", 1, ["seed=range(0,inf): makes a sweep of endlessly many runs"]),
    ("augean status -m dataset=digits seed=range(0,100000000)", 1, ["makes a sweep of 100,000,000 runs"]),
    # options
    ("train.py --epochs 3", 2, ["--epochs: no such option; did you mean trainer.epochs=<value>?", "key=value"]),
    ("train.py --lr=0.1", 2, ["--lr=0.1: no such option; did you mean optimizer.lr=0.1?"]),
    ("train.py --mutlirun seed=0,1", 2, ["--mutlirun: no such option; did you mean --multirun?"]),
    ("train.py --cfg jobs", 2, ["invalid choice: 'jobs'", "--hydra-help"]),
    ("train.py -cn", 2, ["--config-name/-cn: expected one argument"]),
    # sweep files and folders
    ("train.py -cn table1", 1, ["-cn table1: no such sweep; did you mean -cn table1_activation? There are batchnorm"]),
    ("train.py -cd own -cn tabel", 1, ["-cn tabel: no such sweep; did you mean -cn table?"]),
    ("train.py -cn table9", 1, ["-cn table9: no such sweep. There are", "table1_activation", "tune_sgd"]),
    ("train.py -cd own", 1, ["-cd own: names a folder and no sweep; add -cn <name>. There are config, table"]),
    ("train.py -cd onw -cn table", 1, ["-cd onw: no such folder; did you mean -cd own?"]),
    ("train.py -cd own -cn config", 1, ["would start the default run", "-cp", "/own -cn config"]),
    ("train.py -cp nowhere", 1, ["-cp nowhere: is not a folder with a config", "absolute path of a run's directory"]),
    ("train.py -cp {here}/photos -cn config", 1, ["photos: holds no config.yaml", "-cd <folder> -cn <name>"]),
    ("train.py -cn table1_activation.yaml", 1, ["takes a name, not a file; did you mean -cn table1_activation?"]),
    ("train.py -cn own/table.yaml", 1, ["own/table.yaml: takes a name", "did you mean -cd own -cn table?"]),
    # studies
    (f"{STUDY} optimizer.lr=interval(0.1,1) hydra.sweeper.n_trials=0", 1, ["n_trials=0: must be at least 1"]),
    (f"{STUDY} optimizer.lr=interval(1,0.1)", 1, ["optimizer.lr=interval(1,0.1): cannot be searched", "key=a,b"]),
    (f"{STUDY} optimizer.lr=tag(log,interval(0,1))", 1, ["tag(log,interval(0,1)): cannot be searched", "low > 0"]),
    (f"{STUDY} optimizer.lr=interval(0.1,1),2", 1, ["optimizer.lr=interval(0.1,1),2: a function with several values", "lr=a,b,c"]),
    (f"{STUDY} seed=0", 1, ["makes a study, which needs something to search", "activation=relu,elu"]),
    # data, device, disk, memory
    ("train.py dataset=image_folder", 1, ["dataset.name: has no value yet; give it one, dataset.name=..."]),
    ("train.py dataset=image_folder dataset.name=cats", 1, ["dataset.name=cats: cannot read", "Expected"]),
    ("train.py dataset=image_folder dataset.name=photos runtime.data={here} dataset.num_val=1", 1,
     ["4 files cannot be read as images", "photos/train/cat/1.png", "replace or remove them"]),
    (f"{DIGITS} runtime.device=gpu", 1, ["runtime.device=gpu: must be auto, cpu, cuda, cuda:<n> or mps"]),
    (f"{DIGITS} runtime.device=cuda:99", 1, ["runtime.device=cuda:99: not available here; use runtime.device=auto"]),
    (f"{DIGITS} runtime.outputs=", 1, ["runtime.outputs=: must name a folder; '.' is"]),
    (f"{DIGITS} runtime.outputs=file", 1, ["file", "Not a directory; choose a folder that you can write to"]),
    (f"{DIGITS} runtime.outputs=/proc/nothing", 1, ["/proc/nothing: No such file", "runtime.outputs=<folder>"]),
    (f"{SMALL} width.channels=1000000", 1, ["out of memory (tried to allocate", "smaller with trainer.batch_size"]),
    # the other commands
    ("augean", 2, ["required: command", "augean --help"]),
    ("augean statsu", 2, ["invalid choice: 'statsu'", "did you mean status?"]),
    ("augean status --output x", 2, ["unrecognized arguments: --output; did you mean --outputs?"]),
    ("augean train -cn table1", 1, ["did you mean -cn table1_activation?"]),
    ("augean status tabel1 --outputs {here}/outputs", 1, ["tabel1: no sweep in", "and no sweep", "There are"]),
    ("augean status --outputs nowhere", 1, ["--outputs nowhere: no such folder"]),
    ("augean report --outputs nowhere", 1, ["nowhere: no such folder", "runtime.outputs"]),
    ("augean report --select modle=resnet18 --outputs {here}/outputs", 1, ["select 'modle=resnet18': not key=value"]),
    ("augean promote tune_final --outputs {here}/outputs", 1, ["tune_final: names none of the studies in", "There are none"]),
    ("augean bench --precision fp32", 2, ["augean bench: unrecognized arguments: --precision\n"]),
    ("augean bench --repeat 2 model=vgg_a", 2, ["did you mean --repeats?"]),
    ("augean status --select x", 2, ["unrecognized arguments: --select\n"]),
    ("augean status -cd onw table", 1, ["-cd onw: no such folder"]),
    ("augean status table1_activation experiment=dmeo", 1, ["did you mean experiment=demo? There are demo"]),
    ("augean settle table1_activation --margin -1", 1, ["--margin -1.0 cannot be judged", "--margin 0.5"]),
    ("augean settle table1_activation --most 5000", 1, ["--most 5000 cannot be judged", "most <= 200"]),
    ("augean settle table1_activation --margin inf", 1, ["--margin inf cannot be judged"]),
    ("augean watch --page table1", 2, ["table1: takes a file such as watch.html; the name of a sweep goes before"]),
    ("augean status nosuch --json", 1, ["nosuch: no sweep in outputs"]),
    ("augean settle table1_activation --least 2", 1, ["--least 2 cannot be judged", "3 <= least <= most"]),
    ("augean settle table1_activation --budget lots", 1, ["--budget lots: needs a number", "such as 1.5h"]),
    ("augean settle tune_final", 1, ["tune_final: is a study, and settling adds seeds to the rows of a table"]),
    ("augean settle table9 --dry-run", 1, ["-cn table9: no such sweep. There are", "table1_activation"]),
    ("augean settle -cd onw table", 1, ["-cd onw: no such folder"]),
    ("augean submit", 2, ["the following arguments are required: sweep"]),
    ("train.py model=nested/deep", 1, ["model=nested/deep: no such option. There are resnet18"]),
    ("augean submit seed=0,1", 2, ["augean submit seed=0,1: ", "required: sweep", "-m optimizer=sgd,adam"]),
    ("augean submit -cd onw table", 1, ["-cd onw: no such folder"]),
    ("augean settle -cd own table.yaml --dry-run", 1, ["-cn table.yaml: takes a name, not a file; did you mean -cn table?"]),
    ("augean settle", 2, ["the following arguments are required: sweep"]),
    ("augean status optimizer=sgd,adam", 1, ["overrides of which sweep?", "augean status -m optimizer=sgd,adam"]),
    ("augean status -m optimizer=sdg,adam", 1, ["optimizer=sdg: no such option; did you mean optimizer=sgd?"]),
    ("augean bench --channels 8 width=w8", 2, ["width=w8: must be a whole number", "overrides go before"]),
    ("augean predict best:x --allow shapes a.png b.png --outputs {here}/outputs", 1, ["best:x: names none of the sweeps in"]),
    ("augean evaluate zzz --outputs {here}/outputs", 1, ["zzz: no run has an id that begins with it", "none"]),
    ("augean evaluate best:table9 --outputs {here}/outputs", 1, ["best:table9: names none of the sweeps in", "There are none"]),
    ("augean export zzz --to onyx", 2, ["invalid choice: 'onyx'", "did you mean onnx?"]),
    ("augean unpack {here}/file", 1, ["file: no archive of runs that can be read"]),
    ("augean pack --outputs nowhere", 1, ["nowhere: no runs to pack; name the folder that runtime.outputs named"]),
    ("augean promote", 2, ["the following arguments are required: study"]),
    ("augean bench --repeats ten", 2, ["argument --repeats: ten: must be a whole number"]),
    ("augean bench --loops cor", 2, ["invalid choice: 'cor'", "did you mean core?"]),
    ("augean bench modle=resnet18", 1, ["modle=resnet18: there is no key modle; did you mean model=resnet18?"]),
    ("augean bench --at-once 1 0", 2, ["argument --at-once: 0: must be a whole number, at least 1"]),
    ("augean bench --repeats 0", 2, ["argument --repeats: 0: must be a whole number, at least 1"]),
    ("augean predict abc cat.png --top 0", 2, ["argument --top: 0: must be a whole number, at least 1"]),
    ("augean report table1_activation", 2, ["it is of all sweeps, and --select <key>=<value> of some runs"]),
    ("augean bench +foo=1 --images 256", 1, ["+foo=1: there is no key foo"]),
    ("augean bench width=64", 1, ["did you mean width=w64?"]),
]  # fmt: skip


# A sweep file: what it has after its defaults, or the whole of it, and parts of the message in
# their order.
MISTAKES_IN_SWEEP_FILES: dict[str, tuple[str, list[str]]] = {
    "no YAML": ("defaults: [config, _self_", ["no valid YAML", "wrong.yaml", "line 1, column 11"]),
    "no such option": (
        "defaults: [config, {override optimizer: sdg}, _self_]",
        ["optimizer=sdg: no such option; did you mean optimizer=sgd?"],
    ),
    "no such group": (
        "defaults: [config, {override optimiser: sgd}, _self_]",
        [
            "-cn wrong: its defaults override optimiser, which is not a group; did you mean optimizer?"
        ],
    ),
    "no defaults": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}",
        ["wrong.yaml", "; defaults begin with config, as in [config, _self_]"],
    ),
    "no defaults, on one line": (
        "{hydra: {mode: MULTIRUN}}",
        ["wrong.yaml", "; defaults begin with config"],
    ),
    "a mistake on one line": (
        "{defaults: [config, _self_], params: 1}",
        ["no key params in wrong.yaml"],
    ),
    "parameters at the top": (
        "params: {seed: '0,1'}",
        ["no key params in wrong.yaml", "hydra.sweeper.params?"],
    ),
    "a mistyped key of the table": (
        "runtime: {table: {titel: Mine}}",
        ["there is no key runtime.table.titel in wrong.yaml; did you mean runtime.table.title?"],
    ),
    "a mistyped parameter": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimiser.lr: 0.1}}}",
        ["optimiser.lr=0.1: there is no key optimiser; did you mean optimizer.lr=0.1?"],
    ),
    "a list of values": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimizer.lr: [0.1, 0.2]}}}",
        [
            "hydra.sweeper.params.optimizer.lr=[0.1, 0.2]: is one list; several values are optimizer.lr: 0.1,0.2"
        ],
    ),
    "a list of options": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {activation: [relu, elu]}}}",
        ["is one list; several values are activation: relu,elu"],
    ),
    "a row that is no list": (
        "hydra: {mode: MULTIRUN, sweeper: {rows: {plain: schedule=cosine}}}",
        ["hydra.sweeper.rows.plain: must be a list, [schedule=cosine]"],
    ),
    "a row without a value": (
        "hydra: {mode: MULTIRUN, sweeper: {rows: {plain: null}}}",
        ["hydra.sweeper.rows.plain: must be a list, []"],
    ),
    "a row with a mistyped option": (
        "hydra: {mode: MULTIRUN, sweeper: {rows: {plain: [], other: [regularization=l2_5e4]}}}",
        ["regularization=l2_5e4: no such option; did you mean regularization=l2_5e-4?"],
    ),
    "an ablation that is no list": (
        "hydra: {mode: MULTIRUN, sweeper: {ablate: {schedule: cosine}}}",
        ["hydra.sweeper.ablate.schedule: must be a list, [cosine]"],
    ),
    "an ablation of a mistyped group": (
        "hydra: {mode: MULTIRUN, sweeper: {ablate: {activtion: [relu]}}}",
        ["activtion=relu: there is no key activtion; did you mean activation=relu?"],
    ),
    "a baseline that is no row": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimizer: 'sgd,adam'}}}\nruntime: {table: {row: optimizer.name, baseline: sdg}}",
        ["runtime.table.baseline=sdg: not among the rows sgd, adam; choose one of them"],
    ),
    "a row key that there is not": (
        "hydra: {mode: MULTIRUN, sweeper: {params: {optimizer: 'sgd,adam'}}}\nruntime: {table: {row: optimizer.nam}}",
        ["runtime.table: optimizer.nam is not a key of the config; for example activation.name"],
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a broken image, a folder of own sweep files, and a file where a
    folder is asked for.
    """
    here = tmp_path_factory.mktemp("place")
    for file in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"):
        (here / "photos" / file).parent.mkdir(parents=True)
        (here / "photos" / file).write_text(f"not an image: {file}")
    (here / "own").mkdir()
    for name in ("table", "config"):
        (here / "own" / f"{name}.yaml").write_text("defaults: [config, _self_]\n")
    (here / "file").touch()
    (here / "outputs").mkdir()
    return here


def ask(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[object, str]:
    """Run a command line in this process; its exit status and what it said on standard error."""
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        (augean.hydra_main.main if words[0] == "train.py" else augean.cli.main.main)()
    code = ended.value.code
    said = capsys.readouterr().err
    return (1, said + code) if isinstance(code, str) else (code, said)


@pytest.mark.parametrize(("line", "code", "parts"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_a_mistake_is_answered_with_what_to_type_instead(
    line: str,
    code: int,
    parts: list[str],
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    status, said = ask(line.replace("{here}", str(place)), capsys, monkeypatch)
    rest = said
    for part in parts:
        assert part in rest, f"{part!r} is not in {said!r}, or not after the part before it"
        rest = rest.partition(part)[2]
    assert status == code
    assert len(said.strip().splitlines()) <= 2
    for noise in (
        "Traceback",
        "hydra.cc",
        "search path",
        "object_type",
        "Error executing job",
        "Exception",
    ):
        assert noise not in said
    assert not list(place.glob("outputs/runs/*")), "a refused run left a directory"


@pytest.mark.parametrize("name", [[], ["-cn", "config"], ["-cn", "config.yaml"], ["-cn", ".yaml"]])
def test_settings_in_the_config_of_a_run_are_refused_by_any_name(
    name: list[str], tmp_path: Path
) -> None:
    text = f"defaults: [augean, _self_]\nhydra: {{run: {{dir: {tmp_path}/elsewhere}}}}\n"
    (tmp_path / (".yaml" if name[1:] == [".yaml"] else "config.yaml")).write_text(text)
    with pytest.raises(AugeanError, match="has hydra, which Augean never writes"):
        check_command_line(["-cp", str(tmp_path), *name])


@pytest.mark.parametrize("command", ["train.py -cd mine -cn wrong", "augean status -cd mine wrong"])
@pytest.mark.parametrize("mistake", MISTAKES_IN_SWEEP_FILES)
def test_a_mistake_in_a_sweep_file_is_answered_like_one_on_the_command_line(
    mistake: str,
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, parts = MISTAKES_IN_SWEEP_FILES[mistake]
    whole = text.startswith("defaults") or mistake.startswith("no defaults") or text.startswith("{")
    digits = "defaults: [config, {override dataset: digits}, {override width: w8}, _self_]\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wrong.yaml").write_text(text if whole else digits + text)
    monkeypatch.chdir(tmp_path)
    status, said = ask(command, capsys, monkeypatch)
    for part in parts:
        assert part in said
    assert status == 1
    assert len(said.strip().splitlines()) <= 2
    for noise in ("Traceback", "object_type", "raised while composing"):
        assert noise not in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_checkout_behind_a_link_has_one_folder_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    monkeypatch.chdir(link)
    monkeypatch.setattr(paths, "PACKAGED_CONF", link / "src" / "augean" / "conf")
    check_command_line(["-cd", "conf", "-cn", "config"])


def test_a_file_that_cannot_be_read_is_no_fault_of_the_output_folder(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file") as caught:
        read_regular(pipe, 100)
    assert explain_error(caught.value, []) == f"{pipe}: not a regular file"


def say(*command: str, **environment: str) -> tuple[int, str]:
    """Run a command in a process of its own, without this one's packages; exit status and standard
    error.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("file", ["train.py", "src/augean/__init__.py"])
def test_an_old_python_is_told_so(file: str) -> None:
    text = (ROOT / file).read_text()
    # What Python 2 can read too: neither f-strings nor annotations.
    assert not [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.JoinedStr | ast.AnnAssign)
    ]
    old = "import sys; sys.version_info, sys.version = (3, 9, 18), '3.9.18 (main)'; exec(open(sys.argv[1]).read())"
    code, said = say(sys.executable, "-c", old, file)
    assert code == 1
    assert said.startswith("Augean needs Python 3.11 or newer, this is 3.9.18")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [["train.py", "model=resnet18"], ["-m", "augean", "status"], ["-m", "augean", "train"]],
)
def test_a_python_without_the_packages_is_named_with_the_command_that_installs_them(
    command: list[str],
) -> None:
    code, said = say(sys.executable, "-S", *command, PYTHONPATH=str(ROOT / "src"))
    assert code == 1
    assert f"in {sys.executable}" in said
    assert "`make setup`" in said
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_answers_an_unknown_target_with_those_there_are() -> None:
    code, said = say("make", "table9")
    assert code == 2
    assert "make: there is no target table9" in said
    assert "make table1" in said


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_setup_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text(f"""#!/bin/sh
{sys.executable} -c "import sys; sys.version_info, sys.version = (3, 9, 18), '3.9.18'; exec(sys.argv[1])" "$2"
""")
    old.chmod(0o755)
    code, said = say("make", "setup", f"PYTHON={old}", f"VENV={tmp_path}/venv")
    assert code == 2
    assert f"Augean needs Python 3.11 or newer, {old} is 3.9.18" in said
    assert not (tmp_path / "venv").exists()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m augean train --help | head -1; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] in ("0", "141")
    assert done.stderr == ""


def test_an_option_that_hydra_would_not_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = (paths.config_dir() / "optimizer" / "sgd.yaml").read_text()
    option = tmp_path / "mine" / "optimizer" / "sgd.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(own.replace("lr: 0.1", "lr: 0.2"))
    monkeypatch.chdir(tmp_path)
    for command in ("train.py", "augean status"):
        status, said = ask(f"{command} -cd mine -m dataset=digits seed=0,1", capsys, monkeypatch)
        assert status == 1
        assert "mine/optimizer/sgd.yaml: would not be read, as Augean's own optimizer=sgd" in said
        assert "rename it" in said
    # A copy says the same, and an option of another name is read.
    option.write_text(f"# mine\n{own}")
    option.with_name("fast.yaml").write_text(own.replace("lr: 0.1", "lr: 0.2"))
    check_command_line(["-cd", "mine", "optimizer=fast"])
    for folder in (ROOT, ROOT / "conf"):
        check_command_line(["-cd", str(folder), "-cn", "config"])
