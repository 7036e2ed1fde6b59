-- Whether the run of an accepted firing is followed (1), or is over (0). Firings of earlier versions are not.
ALTER TABLE firing ADD COLUMN following BIGINT;
-- When its run was found to take longer than its entry allows.
ALTER TABLE firing ADD COLUMN overdue_at BIGINT;

CREATE INDEX firing_followed ON firing (following) WHERE following = 1;
