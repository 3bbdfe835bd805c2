"""The generator service: owns synthetic datasets and probes, samples from trained generators."""
