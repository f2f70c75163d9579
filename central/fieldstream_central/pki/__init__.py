"""A small certificate authority for trials and for plants without one of their own."""
