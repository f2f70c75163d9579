"""The operator's console: one page, live, that shows the way of the readings and what is wrong now."""
