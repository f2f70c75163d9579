"""The life of alarms after ISA-18.2: what people do to them, kept as events."""
