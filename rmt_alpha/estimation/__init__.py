"""Real data: fronts that turn labelled samples into a law."""
