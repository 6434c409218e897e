# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.report.base import Section as Section
from copyfold.report.comparing import compare as compare
from copyfold.report.diagnosis import Report as Report
from copyfold.report.diagnosis import diagnose as diagnose
