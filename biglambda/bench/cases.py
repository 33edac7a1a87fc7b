"""The kernels that can be measured, by name: a new one is a subclass of `Case`, and its name here."""

from __future__ import annotations

from .case import Case
from .dense import Logistic, MinDistance, Summarize
from .kmeans import Assign, Lloyd
from .newton import Hessian, Softmax

CASES: dict[str, type[Case]] = {
    case.name: case for case in (Lloyd, Assign, MinDistance, Logistic, Softmax, Hessian, Summarize)
}
