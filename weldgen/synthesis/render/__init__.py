"""A physically based weld renderer: height field, materials, light, markings."""
