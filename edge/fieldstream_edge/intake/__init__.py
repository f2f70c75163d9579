"""From MQTT brokers to the spool. Start with connection.py, then acceptor.py."""
