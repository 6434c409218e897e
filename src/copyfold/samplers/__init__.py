"""Samplers: what an autoencoder makes, frame by frame. One file each, see `samplers.base`."""
