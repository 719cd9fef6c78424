"""The checks of the smallest assignment, which the tests of the engine break on purpose."""

from nbmark import approx, check


@check("a", points=1, title="a is right")
def test_a(student):
    student.number("a").matches(3.0, mistakes=[(4, "One too many.")])


@check("a", points=2, title="f doubles")
def test_f(student, draw):
    x = draw.normal(size=3)
    assert student.call("f", x) == approx(2 * x)
