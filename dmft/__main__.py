"""`python -m dmft`, the same as the console script `dmft`."""

import sys

from dmft.cli.main import main

sys.exit(main())
