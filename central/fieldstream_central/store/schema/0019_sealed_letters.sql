-- Which public key a dead letter's bytes are encrypted for; empty: they are not.
ALTER TABLE fieldstream.dead_letters_data ADD COLUMN IF NOT EXISTS sealed_by LowCardinality(String);

CREATE OR REPLACE VIEW fieldstream.dead_letters AS SELECT * FROM fieldstream.dead_letters_data FINAL;
