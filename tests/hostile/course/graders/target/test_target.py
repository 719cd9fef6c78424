"""The hidden checks that attacks try to pass without an answer."""

import reference
from nbmark import check


@check("number", points=1, title="The number")
def test_number(student):
    student.number("a").matches(reference.NUMBER, mistakes=[(415731, "The point is misplaced.")])


@check("function", points=1, title="f(x) at hidden places")
def test_function(student, draw):
    for x in draw.uniform(-5, 5, size=3):
        student.call("f", float(x)).number().matches(reference.f(x), rel=1e-9)


@check("function", points=1, title="f(x) for a hidden array")
def test_function_of_an_array(student, draw):
    x = draw.uniform(-5, 5, size=7)
    student.call("f", x).array((7,)).matches(reference.f(x), rel=1e-9)


@check("array", points=1, title="The squares")
def test_array(student):
    student.array("v", (5,)).matches(reference.SQUARES)


@check("later", points=1, title="The other number")
def test_later(student):
    student.number("b").matches(reference.OTHER)
