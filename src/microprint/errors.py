"""The one class of errors that a user can cause and mend."""


class UserError(Exception):
    """What was wrong, where, and what to do about it, in one sentence each.

    Parameters
    ----------
    what : str
        The fault, with the offending value.
    where : object, optional
        File, parameter or array in which it was found.
    remedy : str, optional
        What the user can do.
    """

    def __init__(self, what: str, where: object = None, remedy: str | None = None):
        self.what, self.where, self.remedy = what, where, remedy
        prefix = f"{where}: " if where is not None else ""
        super().__init__(f"{prefix}{what.rstrip('.')}." + (f" {remedy.rstrip('.')}." if remedy else ""))
