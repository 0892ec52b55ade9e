"""A package of one's own for Augean: a data set and a network."""
