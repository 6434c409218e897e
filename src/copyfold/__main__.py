"""`python -m copyfold` is `copyfold`."""

import sys

from copyfold.cli import main

sys.exit(main())
