"""The connector service: reads, writes and introspects databases, buckets and uploaded files."""
