"""Self-contained HTML reports, one for each stage."""
