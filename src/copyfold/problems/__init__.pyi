# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.problems.base import Problem as Problem
from copyfold.problems.deblur import Deblur as Deblur
from copyfold.problems.enlarge import Enlarge as Enlarge
from copyfold.problems.pixels import Inpaint as Inpaint
from copyfold.problems.pixels import Missing as Missing
