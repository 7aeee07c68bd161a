"""Find writing on photographs of metal and take it away."""
