-- Jobs, what happened to them, their finished layers, and the files of what they made.
-- State words are those of api.md; which may follow which is server/jobs/state.c's.
CREATE TABLE job (
    id          TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 26 AND id NOT GLOB '*[^a-z0-9]*'),
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'downloading', 'quantizing', 'evaluating', 'exporting',
                                                  'verifying', 'succeeded', 'failed', 'cancelled', 'quarantined')),
    name        TEXT,
    tags        TEXT    NOT NULL CHECK (json_valid(tags)),
    request     TEXT    NOT NULL CHECK (json_valid(request)),
    recipe      TEXT    NOT NULL CHECK (json_valid(recipe)),
    resolved    TEXT    NOT NULL CHECK (json_valid(resolved)),
    progress    TEXT    CHECK (progress IS NULL OR json_valid(progress)),
    result      TEXT    CHECK (result IS NULL OR json_valid(result)),
    problem     TEXT    CHECK (problem IS NULL OR json_valid(problem)),
    -- The hub token: write-only, never printed, gone once it is not needed any more.
    secret      TEXT,
    created_ms  INTEGER NOT NULL CHECK (created_ms > 0),
    started_ms  INTEGER NOT NULL DEFAULT 0,
    finished_ms INTEGER NOT NULL DEFAULT 0,
    -- The fencing token: grows with every claim; who holds an older one has lost the job.
    attempt     INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    resumed     INTEGER NOT NULL DEFAULT 0 CHECK (resumed >= 0),
    -- Runs that died one after the other without finishing a layer.
    crashes     INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0),
    version     INTEGER NOT NULL DEFAULT 1,
    last_event  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX job_queue ON job (id) WHERE state = 'queued';
CREATE INDEX job_state ON job (state, id);

CREATE TABLE tag (
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    job   TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_job ON tag (job);

CREATE TABLE event (
    job     TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    id      INTEGER NOT NULL CHECK (id > 0),
    time_ms INTEGER NOT NULL,
    type    TEXT    NOT NULL CHECK (type IN ('state', 'phase', 'progress', 'layer', 'stream', 'warning', 'problem', 'result')),
    data    TEXT    NOT NULL CHECK (json_valid(data)),
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE layer (
    job    TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number >= 0),
    name   TEXT    NOT NULL,
    record TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

-- The only source of names that may be opened below artifacts/ID.
CREATE TABLE artifact (
    job    TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    path   TEXT    NOT NULL,
    size   INTEGER NOT NULL CHECK (size >= 0),
    sha256 TEXT    NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^a-f0-9]*'),
    PRIMARY KEY (job, path)
) STRICT, WITHOUT ROWID;

-- One row that is written to learn whether writing works.
CREATE TABLE probe (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    time_ms INTEGER NOT NULL
) STRICT;
INSERT INTO probe VALUES (1, 0);
