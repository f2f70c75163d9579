"""Who did what, through API, console and command line: topic `audit-log`, which shows when it was tampered with."""
