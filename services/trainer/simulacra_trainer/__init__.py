"""The trainer: owns generators, plans and runs their training."""
