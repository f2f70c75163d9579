"""What people and programs read: the query API and the operator's console."""
