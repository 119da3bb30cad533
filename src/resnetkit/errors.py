"""What can go wrong for a user: each error names the thing, says what to do, and carries the exit code."""

import difflib
import os
import signal
from collections.abc import Iterable


class ResNetKitError(ValueError):
    """A problem a user can mend; `str(error)` is the one line that is shown to them."""

    exit_code = 3


class UsageError(ResNetKitError):
    """Wrong usage: an unknown name, a contradiction, a missing path, a missing extra."""

    exit_code = 2


class DataError(ResNetKitError):
    """Input that is bad or unsafe: an unreadable picture, a data set without classes, a foreign checkpoint."""

    exit_code = 3


class ResourceError(ResNetKitError):
    """The disk, the memory or a port does not suffice."""

    exit_code = 5


class DivergedError(ResNetKitError):
    """Training produced a loss that is not finite."""

    exit_code = 6


class NetworkError(ResNetKitError):
    """Something could not be fetched, or what came was not what was published."""

    exit_code = 7


class InterruptedRun(ResNetKitError):  # noqa: N818 - an interruption is no error
    """A signal ended the work; its state is saved."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def with_hint(self, hint: str) -> "InterruptedRun":
        """Return the same interruption with what to do next behind it."""
        return InterruptedRun(f"{self}; {hint}", signal_number=self.signal_number)


class LostRankError(ResNetKitError):
    """One of the processes that train together is gone or failed; the others stop, with its exit code where known."""

    def __init__(self, message: str, *, exit_code: int = 5) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ToldByAnotherRank(ResNetKitError):  # noqa: N818 - the error itself is the other rank's
    """The whole job stops, and another of its processes prints the line; this one leaves with the exit code."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM outside the training loop: nothing to save, and the exit code of that signal."""


def signal_of(interruption: KeyboardInterrupt) -> int:
    """Return the number of the signal behind an interruption."""
    return int(signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


def missing_extra(what: str, extra: str) -> UsageError:
    """Return the error for an optional package that is not installed.

    >>> str(missing_extra("HEIC photos", "heic"))
    'HEIC photos need an optional package: pip install "resnetkit[heic]"'
    """
    return UsageError(f'{what} need an optional package: pip install "resnetkit[{extra}]"')


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known word nearest to `word`, or an empty string."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""


def problem_line(problem: Exception, *, source: str) -> str:
    """Return what went wrong as one line that names the file."""
    reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    line = " ".join(reason.split())
    if os.path.basename(source) in line:
        return line
    return f"{source if source.isprintable() else ascii(source)[1:-1]}: {line}"
