"""Studies: every claim of the texts, measured again, with a control that could embarrass it."""
