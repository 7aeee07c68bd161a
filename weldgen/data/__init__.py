"""Datasets on disk: images in and out, splits, lineage, mixing."""
