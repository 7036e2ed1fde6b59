-- Which backfill a firing is a part of.
ALTER TABLE firing ADD COLUMN backfill TEXT;

CREATE INDEX firing_backfill ON firing (backfill, state, following, nominal) WHERE backfill IS NOT NULL;
-- Those that the guard has no index of.
CREATE INDEX firing_asked ON firing (entry, nominal) WHERE kind <> 'scheduled';

-- Nominal times of the past that a person wants started, and how far that has come.
CREATE TABLE backfill (
    id            TEXT PRIMARY KEY,
    entry         TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    first_nominal BIGINT NOT NULL,
    last_nominal  BIGINT NOT NULL,
    times         BIGINT NOT NULL,
    max_active    BIGINT NOT NULL,
    again         BIGINT NOT NULL,
    mark          BIGINT NOT NULL,
    passed        BIGINT NOT NULL,
    begun_at      BIGINT NOT NULL,
    ended_at      BIGINT,
    reason        TEXT
);
