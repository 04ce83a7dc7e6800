"""Rule: only the start of `python -m asyncgg.simulator` lives here."""

import sys

from asyncgg.simulator.command import main

sys.exit(main())
