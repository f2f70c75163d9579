"""What all Fieldstream programs agree on: topics, Avro schemas, quality flags, dead-letter reasons."""
