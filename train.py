"""Train one run, a grid or a sweep file: `python train.py model=resnet18 activation=elu`, or `augean train` alike."""

from augean.train import main

if __name__ == "__main__":
    main()
