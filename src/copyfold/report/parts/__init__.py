"""What the diagnosis is made of; a folder deeper than the public names."""
