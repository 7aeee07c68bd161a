"""Self-contained HTML reports, one for each stage and one for a whole chain."""
