"""Measurements that several claims share: networks, samples, figures; a module's name says what it does."""
