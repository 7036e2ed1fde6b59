-- Which run a firing recovers, and how.
ALTER TABLE firing ADD COLUMN recovers TEXT;

-- How often in a row runs of an entry have failed.
CREATE TABLE failing (
    entry    TEXT PRIMARY KEY,
    failures BIGINT NOT NULL
);
