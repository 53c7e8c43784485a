"""Errors that a person reads: one line that says what is wrong, where, and what to do."""


class UserError(Exception):
    """A failure that the user can mend; shown as one line without a stack trace.

    Args:
      message: what was expected, what came (option or file and value), what to try.
      exit_status: 2 for a wrong call (the default), 1 for a job that failed.
    """

    def __init__(self, message: str, exit_status: int = 2):
        super().__init__(message)
        self.exit_status = exit_status


class RemoteError(UserError, OSError):
    """A remote file system gives no answer, or refuses; the message is one line for a person."""


class JobFailed(UserError):
    """A job that started and could not end well; what did work is kept. Exit status 1."""

    def __init__(self, message: str):
        super().__init__(message, exit_status=1)
