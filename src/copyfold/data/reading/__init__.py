"""How images are found, decoded and cached: the machinery behind `Photos` and `survey`."""
