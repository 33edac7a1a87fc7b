"""Synthetic data sets of any size, written in parallel."""
