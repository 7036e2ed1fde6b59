-- By which rules the cron expressions of the version were read. Versions of before this column were read as croner does.
ALTER TABLE in_force ADD COLUMN rules TEXT NOT NULL DEFAULT 'croner';
