"""What the package costs and how well it predicts: `python -m benchmarks`, and a script for every study."""
