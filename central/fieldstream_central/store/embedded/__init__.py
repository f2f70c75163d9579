"""The ClickHouse engine of the chdb wheel behind the ClickHouse HTTP interface, in one process."""
