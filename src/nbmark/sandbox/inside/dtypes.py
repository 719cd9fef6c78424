"""The numeric dtypes that may cross the wire, the same list for both of its ends."""

CHARACTERS = frozenset("?bBhHiIlLqQefdFD")  # as in `numpy.dtype.char`
