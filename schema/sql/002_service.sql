-- Who may, what they did, answers kept for repeated requests, and what is sent to other hosts.

-- Higher first; among equals the owner who has had least, then the oldest (server/jobs says how).
ALTER TABLE job ADD COLUMN priority INTEGER NOT NULL DEFAULT 50 CHECK (priority BETWEEN 0 AND 100);
-- api_key.id of whoever created it; '' = nobody had to show a key.
ALTER TABLE job ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- What time, memory and disk were expected to be, made before the run; beside `result` it says how good that was.
ALTER TABLE job ADD COLUMN forecast TEXT CHECK (forecast IS NULL OR json_valid(forecast));
-- The webhook's signing secret: write-only, as `secret` is.
ALTER TABLE job ADD COLUMN webhook_secret TEXT;
-- Runs of it that died, in all; `crashes` counts those since the last finished layer.
ALTER TABLE job ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0 CHECK (deaths >= 0);
-- The request that queued it, at first or again: the log's lines about its runs name it.
ALTER TABLE job ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
DROP INDEX job_queue;
-- Whose turn it is: the highest priority, by owner, oldest first; what an owner has under way; when an owner was served last.
CREATE INDEX job_queue ON job (priority DESC, owner, id) WHERE state = 'queued';
CREATE INDEX job_owner ON job (owner, state);
CREATE INDEX job_served ON job (owner, started_ms);

-- New kinds of events: how a run is confined; what became of a webhook or an upload; what a client changed of a job that exists.
CREATE TABLE event_2 (
    job     TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    id      INTEGER NOT NULL CHECK (id > 0),
    time_ms INTEGER NOT NULL,
    type    TEXT    NOT NULL CHECK (type IN ('state', 'phase', 'progress', 'layer', 'stream', 'warning', 'problem', 'result',
                                             'run', 'delivery', 'change')),
    data    TEXT    NOT NULL CHECK (json_valid(data)),
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;
INSERT INTO event_2 SELECT job, id, time_ms, type, data FROM event;
DROP TABLE event;
ALTER TABLE event_2 RENAME TO event;

-- Only a digest of a key is kept. Rows stay when a key is revoked: the audit names them.
CREATE TABLE api_key (
    id              TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 26 AND id NOT GLOB '*[^a-z0-9]*'),
    name            TEXT    NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    sha256          TEXT    NOT NULL UNIQUE CHECK (length(sha256) = 64),
    scopes          TEXT    NOT NULL,             -- words with a space between
    rate_per_minute INTEGER NOT NULL DEFAULT 0,   -- requests; 0 = the service's own limit
    queue_quota     INTEGER NOT NULL DEFAULT 0,   -- unfinished jobs; 0 = the service's own limit
    disk_quota      INTEGER NOT NULL DEFAULT 0,   -- bytes of artifacts; 0 = the service's own limit
    created_ms      INTEGER NOT NULL,
    expires_ms      INTEGER NOT NULL DEFAULT 0,   -- 0 = never
    revoked_ms      INTEGER NOT NULL DEFAULT 0,
    last_used_ms    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE audit (
    id         INTEGER NOT NULL PRIMARY KEY,
    time_ms    INTEGER NOT NULL,
    key_id     TEXT    NOT NULL,                  -- api_key.id, or ''
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    action     TEXT    NOT NULL,                  -- "job.create", "key.revoke", ...
    target     TEXT    NOT NULL,                  -- the job's or key's id
    detail     TEXT    NOT NULL CHECK (json_valid(detail))
) STRICT;
CREATE INDEX audit_time ON audit (time_ms);
CREATE INDEX audit_target ON audit (target);

-- Answers to POST /jobs by Idempotency-Key; written in the transaction of the job.
CREATE TABLE idempotency (
    owner       TEXT    NOT NULL,
    key         TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    body_sha256 TEXT    NOT NULL,
    job         TEXT    NOT NULL,
    response    TEXT    NOT NULL CHECK (json_valid(response)),
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_time ON idempotency (created_ms);

-- Webhooks and uploads under way, and done.
CREATE TABLE delivery (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 30 AND id GLOB 'msg_*'), -- what the webhook-id header says
    job         TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL CHECK (kind IN ('webhook', 'publish')),
    url         TEXT    NOT NULL,                 -- whole: its query may hold a secret and is not shown
    host        TEXT    NOT NULL,                 -- of the URL: one host may not hold up the others
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    body        TEXT,                             -- of a webhook: the same bytes at every try
    tries       INTEGER NOT NULL DEFAULT 0,       -- since it was made, or asked for again
    next_ms     INTEGER NOT NULL DEFAULT 0,       -- when to try; pending only
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX delivery_due ON delivery (kind, next_ms) WHERE state = 'pending';
CREATE INDEX delivery_job ON delivery (job, created_ms);

CREATE TABLE delivery_attempt (
    delivery TEXT    NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    time_ms  INTEGER NOT NULL,
    status   INTEGER NOT NULL,                    -- HTTP; 0 = no answer
    seconds  REAL    NOT NULL,
    detail   TEXT    NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- The files of an upload: which are there already, and which one is on its way in parts.
CREATE TABLE delivery_file (
    delivery    TEXT    NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    path        TEXT    NOT NULL,
    parts       TEXT    NOT NULL DEFAULT '',      -- the storage's name of the upload in parts; '' = none is open
    finished_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (delivery, path)
) STRICT, WITHOUT ROWID;
