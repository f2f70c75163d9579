"""The query API: what the store holds, over HTTP, bounded and paged."""
