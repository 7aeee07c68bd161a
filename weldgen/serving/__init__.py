"""Use an exported classifier without torch."""
