"""The two ways in which a run ends without a result."""


class DataError(ValueError):
    """The data, or a parameter that must fit them, is not what a run can use.

    The message says what was received, what is allowed, and where: file and line, or row and column.
    """


class RunError(RuntimeError):
    """A run ended early: a worker failed or never came, Redis was lost, or somebody stopped it."""
