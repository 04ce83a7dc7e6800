"""The entry point of `python -m asyncgg`."""

import sys

from asyncgg.cli import main

sys.exit(main())
