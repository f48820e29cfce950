"""`python -m stillage` and `torchrun -m stillage`."""

import sys

from stillage.cli import main

sys.exit(main())
