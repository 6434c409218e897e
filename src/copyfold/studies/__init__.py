"""Studies: every claim of the texts, measured, with a control that could contradict it."""
