"""Objectives: what training makes smaller. One equation with three slots, see `objectives.base`."""
