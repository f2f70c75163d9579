-- What people have done about dead letters; the newest action on a letter stands.
CREATE TABLE IF NOT EXISTS fieldstream.dead_letter_handling_data
(
    letter_id String,
    action LowCardinality(String),
    by String,
    note String,
    at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY letter_id;

CREATE OR REPLACE VIEW fieldstream.dead_letter_handling AS SELECT * FROM fieldstream.dead_letter_handling_data FINAL;
