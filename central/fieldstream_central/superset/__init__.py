"""Superset: data source, datasets, charts and a dashboard as an importable bundle."""
