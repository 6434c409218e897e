"""Architectures: one file each. `models.base.Autoencoder` says what an architecture is."""
