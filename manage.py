#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    from django.core.management import execute_from_command_line

    from gateway_project.variables import VariablesRefused

    try:
        execute_from_command_line(sys.argv)
    except VariablesRefused as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main()
