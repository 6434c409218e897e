"""Probes: what an autoencoder learned, as numbers and images. One file each, see `probes.base`."""
