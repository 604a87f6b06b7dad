#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys

READER_HAS_GONE = 128 + 13
"""What a shell says of a program that SIGPIPE has ended."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError, ProgrammingError

    from gateway_project.variables import VariablesRefused

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except VariablesRefused as refusal:
        sys.exit(str(refusal))
    except BrokenPipeError:
        # Whoever read this has enough, as `head` does. Python flushes once more at exit, which must find somebody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(READER_HAS_GONE)
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(
            f"The database refuses: {str(error).strip()}\n"
            "Where it has no tables, or lacks some, run: uv run manage.py migrate. --traceback shows where it was asked."
        )


if __name__ == "__main__":
    main()
