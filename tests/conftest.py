"""For all tests: how long an example of Hypothesis takes is the machine's affair, and no fault of what it tests."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
