"""The store: ClickHouse schema, embedded engine, loader, repair of late windows, audit of completeness."""
