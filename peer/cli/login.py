"""Who runs the command line, as the system knows them."""

import getpass


def login_name() -> str:
    """Their name, empty where the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # No such user, as in a container.
        return ""
