"""Rule: only the start of `python -m asyncgg.simulator` lives here."""

import sys

from asyncgg.simulator.cli import main

sys.exit(main())
