"""Deterministic equivalents: theory that turns a problem into a law."""
