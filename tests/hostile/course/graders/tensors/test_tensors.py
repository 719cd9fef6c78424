"""The hidden checks for attacks that use TensorFlow."""

import reference
from nbmark import check


@check("tensor", points=1, title="The primes")
def test_tensor(student):
    student.array("t", (3,)).matches(reference.PRIMES)


@check("slope", points=2, title="The slope at hidden places")
def test_slope(student, draw):
    for x in draw.uniform(1, 5, size=2):
        student.call("slope", float(x)).number().matches(reference.slope(x), rel=1e-5)
