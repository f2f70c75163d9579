"""Detection: the same plain Python in the Flink job, in the replay of recorded data and in tests."""
