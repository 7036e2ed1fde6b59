-- In SQL that SQLite and PostgreSQL both understand. Times are milliseconds since the Unix epoch,
-- nominal times whole seconds.

-- The text of every version of the schedule file that was in force, so that the last good one can run again
-- and the calendars of the past can be recomputed.
CREATE TABLE schedule_version (
    version TEXT PRIMARY KEY,
    text    TEXT NOT NULL
);

-- Which version came into force when, in this order: a version may come back, and the clock may be set back.
CREATE TABLE in_force (
    number  BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    version TEXT NOT NULL
);

-- The enabled entries of the schedule in force, and how far each is planned.
CREATE TABLE entry (
    name        TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    mark        BIGINT NOT NULL
);

-- Intents, and what became of them. A row of condensed skips stands for `count` nominal times.
CREATE TABLE firing (
    firing_id        TEXT PRIMARY KEY,
    entry            TEXT NOT NULL,
    pipeline         TEXT NOT NULL,
    subscription     TEXT NOT NULL,
    resource_group   TEXT NOT NULL,
    factory          TEXT NOT NULL,
    kind             TEXT NOT NULL,
    nominal          BIGINT NOT NULL,
    last_nominal     BIGINT NOT NULL,
    skipped          BIGINT NOT NULL,
    due              BIGINT NOT NULL,
    body             TEXT NOT NULL,
    policy           TEXT NOT NULL,
    schedule_version TEXT NOT NULL,
    planned_at       BIGINT NOT NULL,
    state            TEXT NOT NULL,
    reason           TEXT,
    attempts         BIGINT NOT NULL,
    counted          BIGINT NOT NULL,
    next_at          BIGINT,
    first_sent_at    BIGINT,
    reopened_at      BIGINT,
    run_id           TEXT,
    run_status       TEXT,
    error_message    TEXT,
    accepted_at      BIGINT,
    finished_at      BIGINT
);

-- The guard: at most one scheduled firing of an entry and a nominal time.
CREATE UNIQUE INDEX firing_once ON firing (entry, nominal) WHERE kind = 'scheduled';
CREATE INDEX firing_open ON firing (state) WHERE state IN ('planned', 'waiting', 'unknown', 'held');
CREATE INDEX firing_run ON firing (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX firing_recent ON firing (nominal);
-- Rows that stand for several nominal times, which guard all of them.
CREATE INDEX firing_condensed ON firing (last_nominal) WHERE skipped > 1;

-- Every createRun call whose end is known.
CREATE TABLE attempt (
    firing_id            TEXT NOT NULL,
    attempt              BIGINT NOT NULL,
    sent_at              BIGINT NOT NULL,
    answered_at          BIGINT NOT NULL,
    outcome              TEXT NOT NULL,
    http_status          BIGINT,
    error_code           TEXT,
    error_message        TEXT,
    azure_request_id     TEXT,
    azure_correlation_id TEXT,
    PRIMARY KEY (firing_id, attempt)
);

-- Whether a factory has so far always taken our request id as the run's id (1), or not (0).
CREATE TABLE factory (
    factory      TEXT PRIMARY KEY,
    takes_our_id BIGINT NOT NULL
);

-- From when until when entries were paused.
CREATE TABLE pause (
    entry      TEXT NOT NULL,
    paused_at  BIGINT NOT NULL,
    resumed_at BIGINT,
    note       TEXT,
    PRIMARY KEY (entry, paused_at)
);

-- What people asked the daemon to do.
CREATE TABLE request (
    request_id   TEXT PRIMARY KEY,
    asked_at     BIGINT NOT NULL,
    asks         TEXT NOT NULL,
    state        TEXT NOT NULL,
    answer       TEXT
);

-- Events whose facts are committed and which may not have been announced yet, one row a commit.
CREATE TABLE announcement (
    batch  BIGINT PRIMARY KEY,
    events TEXT NOT NULL
);

-- Single values, for example whether the last daemon stopped cleanly.
CREATE TABLE note (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
