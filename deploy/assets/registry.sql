-- The asset registry in Postgres (15 or later): what an engineering department keeps of its plant.
-- Run once by the owner of the database: psql -v ON_ERROR_STOP=1 -v password="'...'" -f registry.sql
--
-- People and their tools change sites, areas, assets and sensors. `published` is what follows from them, one row for
-- each sensor, and the only table that Debezium reads: whatever else changes here, topic `assets` keeps its form.

CREATE SCHEMA registry;
SET search_path = registry;

CREATE TABLE sites (
    site text PRIMARY KEY CHECK (site <> ''),
    owner text NOT NULL DEFAULT ''
);

CREATE TABLE areas (
    site text REFERENCES sites ON UPDATE CASCADE,
    area text CHECK (area <> ''),
    owner text NOT NULL DEFAULT '',
    PRIMARY KEY (site, area)
);

CREATE TABLE assets (
    asset_id text PRIMARY KEY CHECK (asset_id <> ''),
    site text NOT NULL REFERENCES sites ON UPDATE CASCADE,
    area text,
    asset_type text NOT NULL,
    owner text NOT NULL DEFAULT '',
    FOREIGN KEY (site, area) REFERENCES areas ON UPDATE CASCADE
);

CREATE TABLE sensors (
    device_id text CHECK (device_id <> ''),
    metric text CHECK (metric <> ''),
    asset_id text NOT NULL REFERENCES assets ON UPDATE CASCADE ON DELETE CASCADE,
    label text NOT NULL DEFAULT '',
    unit text,
    period_ms bigint CHECK (period_ms > 0),
    low_low double precision,
    low double precision,
    high double precision,
    high_high double precision,
    PRIMARY KEY (device_id, metric),
    CONSTRAINT limits_rise CHECK (
        low_low <= coalesce(low, high, high_high) IS NOT FALSE
        AND low <= coalesce(high, high_high) IS NOT FALSE
        AND high <= high_high IS NOT FALSE
    )
);

CREATE TABLE published (
    device_id text,
    metric text,
    site text NOT NULL,
    area text NOT NULL,
    asset_id text NOT NULL,
    asset_type text NOT NULL,
    label text NOT NULL,
    unit text,
    period_ms bigint,
    low_low double precision,
    low double precision,
    high double precision,
    high_high double precision,
    updated_at bigint NOT NULL,
    PRIMARY KEY (device_id, metric)
);
ALTER TABLE published REPLICA IDENTITY FULL;

-- Compares all and writes what differs: right whatever the statement was. A statement on 100,000 sensors takes some
-- tenths of a second. The lock lets one transaction after the other publish, so that none misses another's change.
CREATE FUNCTION publish() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = registry AS $$
BEGIN
    LOCK TABLE published IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM published AS p
    WHERE NOT EXISTS (SELECT FROM sensors AS s WHERE (s.device_id, s.metric) = (p.device_id, p.metric));
    INSERT INTO published AS p
    SELECT device_id, metric, site, coalesce(area, ''), asset_id, asset_type, label, unit, period_ms,
        low_low, low, high, high_high, extract(epoch FROM clock_timestamp()) * 1000
    FROM sensors JOIN assets USING (asset_id)
    ON CONFLICT (device_id, metric) DO UPDATE SET
        (site, area, asset_id, asset_type, label, unit, period_ms, low_low, low, high, high_high, updated_at)
        = (excluded.site, excluded.area, excluded.asset_id, excluded.asset_type, excluded.label, excluded.unit,
           excluded.period_ms, excluded.low_low, excluded.low, excluded.high, excluded.high_high, excluded.updated_at)
    WHERE (p.site, p.area, p.asset_id, p.asset_type, p.label, p.unit, p.period_ms, p.low_low, p.low, p.high, p.high_high)
        IS DISTINCT FROM
        (excluded.site, excluded.area, excluded.asset_id, excluded.asset_type, excluded.label, excluded.unit,
         excluded.period_ms, excluded.low_low, excluded.low, excluded.high, excluded.high_high);
    RETURN NULL;
END
$$;

-- Cascades fire the statement triggers of the tables that they reach; sites and areas reach sensors through assets.
CREATE TRIGGER publish AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sensors EXECUTE FUNCTION publish();
CREATE TRIGGER publish AFTER UPDATE ON assets EXECUTE FUNCTION publish();

CREATE PUBLICATION fieldstream_assets FOR TABLE published;
CREATE ROLE debezium LOGIN REPLICATION PASSWORD :password;
GRANT USAGE ON SCHEMA registry TO debezium;
GRANT SELECT ON published TO debezium;
