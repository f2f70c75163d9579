"""From the spool to Kafka. Start with producer.py."""
