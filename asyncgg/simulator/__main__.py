"""Starts `python -m asyncgg.simulator`."""

import sys

from asyncgg.simulator.cli import main

sys.exit(main())
