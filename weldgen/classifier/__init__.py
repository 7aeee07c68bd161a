"""Train, evaluate and export the classifier."""
