"""Train one run, a grid or a sweep file: `python train.py model=resnet18 activation=elu`, the same as `augean train`."""

from augean.train import main

if __name__ == "__main__":
    main()
