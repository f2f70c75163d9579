"""The commands of `fieldstream-gateway`, one module each."""
