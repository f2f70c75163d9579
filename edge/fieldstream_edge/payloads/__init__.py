"""From payload bytes to decoded readings, one module per format. No I/O, no clock."""
