"""What can go wrong, said in one line: what, where, why, and what to do. Each kind has its exit code."""


class CopyfoldError(Exception):
    """Something failed that is not the caller's mistake: a full disk, a run folder in use."""

    exit_code = 1


class UsageError(CopyfoldError, ValueError):
    """The call cannot mean anything: a size the model cannot take, an unknown name, a negative number."""

    exit_code = 2


class DataError(CopyfoldError, ValueError):
    """There is no usable data: no such folder, unreadable images, values out of range."""

    exit_code = 3


class Diverged(CopyfoldError, ArithmeticError):
    """The loss stopped being a number; the last good checkpoint is kept."""

    exit_code = 4
