"""Finite-size experiments: samplers of the margin law, and the runner that repeats them."""
