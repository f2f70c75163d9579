"""What is declared once for every way to run Fieldstream, and the files that are made from it."""
