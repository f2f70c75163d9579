"""`fieldstream doctor`: looks at the whole running system and says what is wrong and what to do about it."""
