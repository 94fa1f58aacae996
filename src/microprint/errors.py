"""Errors that a user can cause and mend."""


class UserError(Exception):
    """What was wrong, with the offending value; in which file, parameter or array; and what the user can do about it."""

    def __init__(self, what: str, where: object = None, remedy: str | None = None):
        self.what, self.where, self.remedy = what, where, remedy
        prefix = f"{where}: " if where is not None else ""
        super().__init__(f"{prefix}{what.rstrip('.')}." + (f" {remedy.rstrip('.')}." if remedy else ""))


class MissingData(UserError):
    """What a notebook or step `needs` and the user's own data do not hold: it cannot run, others can."""

    def __init__(self, needs: str):
        self.needs = needs
        super().__init__(f"it needs {needs}")

    def __reduce__(self):
        return type(self), (self.needs,)


def one_line(fault: object, most: int | None = None) -> str:
    """What a library says of a fault, without its line breaks and cut at so many letters, for a `UserError`."""
    return " ".join(str(fault).split())[:most]
