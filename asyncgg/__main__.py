"""Rule: only the start of `python -m asyncgg` lives here."""

import sys

from asyncgg.cli import main

sys.exit(main())
