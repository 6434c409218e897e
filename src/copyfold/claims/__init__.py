"""The claims of the texts, each measured again: one file a claim, in one folder a section of the texts."""
