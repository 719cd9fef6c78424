"""One update of momentum and of Adam, compared with the updates that known mistakes give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nbmark import Student, close, fail

Rule = Callable[..., tuple[Any, ...]]  # the arguments of an update → its new values


def update_is_right(
    student: Student,
    function: str,
    arguments: tuple[Any, ...],
    rule: Rule,
    mistakes: Iterable[tuple[Rule, str]],
) -> None:
    """Compare one update of an optimiser, by number with the update that each mistake gives.

    Parameters
    ----------
    rule
        Takes the arguments and returns the right update, a tuple of numbers or of arrays.
    mistakes
        Pairs of a rule with a mistake and its sentence.
    """
    right = rule(*arguments)
    answer = student.call(function, *arguments)
    if len(answer) != len(right):
        fail(f"{function} should return {len(right)} values.", own=str(answer))
    own = [answer[i].array(np.shape(part)).value for i, part in enumerate(right)]

    def is_like(update: tuple[Any, ...]) -> bool:
        return all(close(a, b, rel=1e-5) for a, b in zip(own, update, strict=True))

    if is_like(right):
        return
    text = f"{function} returned {tuple(part.tolist() for part in own)}"
    for wrong_rule, sentence in mistakes:
        if is_like(wrong_rule(*arguments)):
            fail(sentence, text)
    names = ("p", "m", "v") if len(right) == 3 else ("p", "v")
    wrong = [
        part for part, a, b in zip(names, own, right, strict=True) if not close(a, b, rel=1e-5)
    ]
    fail(
        f"After one update, this is not right yet: {' and '.join(wrong)}. Put numbers of your own "
        "into the formulas of the box, a memory that is not zero included, and compare.",
        text,
    )


MOMENTUM_MISTAKES = [
    (
        lambda p, g, v, mu, eta: (p + mu * v + eta * g, mu * v + eta * g),
        "The slope points uphill: subtract it from the velocity.",
    ),
    (
        lambda p, g, v, mu, eta: (p - (mu * v - eta * g), mu * v - eta * g),
        "The velocity already points downhill: add it to p.",
    ),
    (
        lambda p, g, v, mu, eta: (p - eta * g, -eta * g),
        "Which share of the old velocity stays? Yours is gone.",
    ),
    (
        lambda p, g, v, mu, eta: (p + v - eta * g, v - eta * g),
        "The whole old velocity stays. Where does the factor mu come in?",
    ),
    (
        lambda p, g, v, mu, eta: (p + mu * v - (1 - mu) * eta * g, mu * v - (1 - mu) * eta * g),
        "The heavy ball has no factor 1 - mu: the whole step is added to the velocity.",
    ),
    (
        lambda p, g, v, mu, eta: (p - eta * (mu * v + (1 - mu) * g), mu * v + (1 - mu) * g),
        "Your v is an average of slopes. In the box it is a velocity: it already holds the rate "
        "and the sign.",
    ),
    (
        lambda p, g, v, mu, eta: (p - eta * (mu * v + g), mu * v + g),
        "Your v collects slopes. In the box it is a velocity: it already holds the rate and the "
        "sign.",
    ),
    (
        lambda p, g, v, mu, eta: (p + v, mu * v - eta * g),
        "Update the velocity first, then move by the new velocity.",
    ),
    (
        lambda p, g, v, mu, eta: (p + mu * (mu * v - eta * g) - eta * g, mu * v - eta * g),
        "This is Nesterov's form. The heavy ball moves by the new velocity itself.",
    ),
    (
        lambda p, g, v, mu, eta: (p + mu * v - eta * g, v),
        "The new p is right. Return the new velocity with it, not the old one.",
    ),
    (lambda p, g, v, mu, eta: (p, mu * v - eta * g), "The new velocity is right. Move p by it."),
    (
        lambda p, g, v, mu, eta: (p + mu * v - g, mu * v - g),
        "Where does the learning rate come in?",
    ),
    (lambda p, g, v, mu, eta: (mu * v - eta * g, p + mu * v - eta * g), "Return p first, then v."),
]


def adam_rule(
    correct_m: Callable[..., Any] = lambda m, beta, t: m / (1 - beta**t),
    correct_v: Callable[..., Any] = lambda v, beta, t: v / (1 - beta**t),
    root: Callable[..., Any] = np.sqrt,
    square: Callable[..., Any] = np.square,
    betas: tuple[float, float] = (0.9, 0.999),
    shares: Callable[..., Any] = lambda beta: 1 - beta,
    sign: int = 1,
    returned: Callable[..., Any] = lambda p, new, old, corrected: (p, *new),
) -> Rule:
    """Return Adam's update, in which some parts may be replaced by mistakes."""

    def rule(p: Any, g: Any, m: Any, v: Any, t: int, eta: float) -> tuple[Any, ...]:
        new = (betas[0] * m + shares(betas[0]) * g, betas[1] * v + shares(betas[1]) * square(g))
        corrected = correct_m(new[0], betas[0], t), correct_v(new[1], betas[1], t)
        step = eta * corrected[0] / (root(np.abs(corrected[1])) + 1e-8)
        return returned(p - sign * step, new, (m, v), corrected)

    return rule


def as_it_is(average: Any, beta: float, t: int) -> Any:
    """Return an average without Adam's correction."""
    return average


ADAM_MISTAKES = [
    (adam_rule(as_it_is, as_it_is), "Both averages are too small at first. What corrects them?"),
    (adam_rule(correct_v=as_it_is), "Your v is not corrected with 1 - beta2**t."),
    (adam_rule(correct_m=as_it_is), "Your m is not corrected with 1 - beta1**t."),
    (
        adam_rule(*[lambda average, beta, t: average / (1 - beta ** (t + 1))] * 2),
        "You corrected with t + 1. The first update has the number t = 1.",
    ),
    (
        adam_rule(*[lambda average, beta, t: average / (1 - beta ** max(t - 1, 1))] * 2),
        "You corrected with t - 1. The first update has the number t = 1.",
    ),
    (
        adam_rule(*[lambda average, beta, t: average / (1 - beta * t)] * 2),
        "In the correction, t is an exponent, not a factor.",
    ),
    *(
        (adam_rule(square=square), "The second average is one of squares: g**2.")
        for square in (np.abs, np.asarray)
    ),
    (
        adam_rule(root=np.asarray),
        "Divide by the root of the second average, not by the average itself.",
    ),
    (adam_rule(betas=(0.999, 0.9)), "You swapped beta1 and beta2."),
    (adam_rule(sign=-1), "Your step goes uphill: subtract it from p."),
    (
        adam_rule(returned=lambda p, new, old, corrected: (p, *corrected)),
        "The new p is right. Return m and v as they are before the correction: the next update "
        "needs them so.",
    ),
    (
        adam_rule(returned=lambda p, new, old, corrected: (p, *old)),
        "The new p is right. Return the new averages with it, not the old ones.",
    ),
    (adam_rule(returned=lambda p, new, old, corrected: (*new, p)), "Return p first, then m and v."),
    (
        adam_rule(returned=lambda p, new, old, corrected: (p, *new[::-1])),
        "Return p first, then m, then v.",
    ),
    (
        adam_rule(shares=lambda beta: 1.0),
        "Where are the shares 1 - beta1 and 1 - beta2 of the new slope and its square?",
    ),
]
