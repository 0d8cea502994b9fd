"""`python -m glocal`."""

import sys

from glocal.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
