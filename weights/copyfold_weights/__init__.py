"""Trained networks, one in a folder. This package has no code: `copyfold.pretrained(NAME)` reads the files."""
