"""Personal data: pseudonyms, sealed dead letters, and the right to be forgotten. docs/privacy.md tells the whole."""
