-- What a gateway says will never arrive (dropped by policy, or unreadable on its disk): a known gap, not a loss on the way.
ALTER TABLE fieldstream.gateways_data ADD COLUMN IF NOT EXISTS
    gaps Array(Tuple(first Int64, last Int64, reason LowCardinality(String))) CODEC(ZSTD(1)) AFTER counts;

CREATE OR REPLACE VIEW fieldstream.gateways AS SELECT * FROM fieldstream.gateways_data FINAL;
