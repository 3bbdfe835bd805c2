"""The smallest service package there can be: what the kernel is tested with."""
