"""The expected values of the hidden checks; the suite adds a canary that no attack may see."""

NUMBER, OTHER = 41.5731, 12.2946
SQUARES = [1.0, 4.0, 9.0, 16.0, 25.0]
PRIMES = [2.0, 3.0, 5.0]


def f(x):
    return 3 * x**2 - 2 * x


def slope(x):
    return 3 * x**2
