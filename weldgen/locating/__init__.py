"""Find the weld on photos that show more than the weld: learned from a few marked ones."""
