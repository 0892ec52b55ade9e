"""The data sets that come with Augean."""
