"""Entry of ``python -m spade_core``; the commands are in :mod:`spade_core.cli`."""

import sys

from spade_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
