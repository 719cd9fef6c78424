import numpy as np


def mean_square(r):
    return np.mean(r**2)
