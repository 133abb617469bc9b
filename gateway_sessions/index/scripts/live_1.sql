-- Live sessions, version 1: what `gateway_sessions.index.postgres` asks for.  Scopes and keys are
-- unsigned numbers there and the signed ones of the same 64 bits here.

CREATE TABLE live_sessions (
    scope bigint NOT NULL,
    id text NOT NULL,
    version integer NOT NULL,
    used double precision NOT NULL, -- unix seconds
    keys bigint[] NOT NULL, -- all that lead to it, so that they can go with it
    state bytea NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX live_sessions_by_use ON live_sessions (scope, used);

CREATE TABLE live_keys (
    scope bigint NOT NULL,
    key bigint NOT NULL,
    ids text[] NOT NULL, -- newest last
    PRIMARY KEY (scope, key)
);

-- So that scopes can be limited without counting, and those that nobody uses be found.
CREATE TABLE live_scopes (
    scope bigint PRIMARY KEY,
    sessions integer NOT NULL,
    used double precision NOT NULL -- unix seconds, at most a minute late
);
CREATE INDEX live_scopes_by_use ON live_scopes (used);

-- Sessions by keys, for many requests at once: ask n wants key keys[i] of scopes[i] where asks[i] = n,
-- and knows version known_versions[i] of session known_ids[i] where known_asks[i] = n.
CREATE FUNCTION live_fetch(
    asks integer[], scopes bigint[], keys bigint[],
    known_asks integer[], known_ids text[], known_versions integer[],
    gone_after double precision
) RETURNS TABLE (ask integer, id text, version integer, used double precision, state bytea)
LANGUAGE plpgsql
-- Tables grow from nothing; plans made for small ones would read them whole.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH found AS (
        SELECT DISTINCT asked.ask, asked.scope, named.id
        FROM unnest(asks, scopes, keys) AS asked (ask, scope, key)
        JOIN live_keys ON live_keys.scope = asked.scope AND live_keys.key = asked.key
        CROSS JOIN unnest(live_keys.ids) AS named (id)
    )
    SELECT found.ask, session.id, session.version, session.used,
        CASE WHEN known.version = session.version THEN NULL ELSE session.state END
    FROM found
    JOIN live_sessions AS session ON session.scope = found.scope AND session.id = found.id
    LEFT JOIN unnest(known_asks, known_ids, known_versions) AS known (ask, id, version)
        ON known.ask = found.ask AND known.id = found.id
    WHERE session.used >= extract(epoch FROM clock_timestamp()) - gone_after;
END
$$;

-- Remove a session and its keys.
CREATE FUNCTION live_remove(of_scope bigint, gone text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    its_keys bigint[];
BEGIN
    DELETE FROM live_sessions WHERE scope = of_scope AND id = gone RETURNING keys INTO its_keys;
    DELETE FROM live_keys WHERE scope = of_scope AND key = ANY (its_keys) AND ids = ARRAY[gone];
    UPDATE live_keys SET ids = array_remove(ids, gone)
        WHERE scope = of_scope AND key = ANY (its_keys);
    UPDATE live_scopes SET sessions = sessions - 1 WHERE scope = of_scope;
END
$$;

-- Change a session, unless another version than the expected one is there; tell whether that was so.
CREATE FUNCTION live_change(
    of_scope bigint, of_id text, expected integer, at double precision, new_state bytea,
    added bigint[], outdated bigint[], candidates integer
) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    old record;
    gone bigint;
    its_keys bigint[] := added;
BEGIN
    SELECT version, keys INTO old FROM live_sessions WHERE scope = of_scope AND id = of_id;
    IF old.version <> expected THEN
        RETURN false;
    END IF;
    IF old.version IS NULL THEN
        INSERT INTO live_scopes VALUES (of_scope, 1, at)
            ON CONFLICT (scope) DO UPDATE SET sessions = live_scopes.sessions + 1,
                used = greatest(live_scopes.used, excluded.used);
    ELSE
        UPDATE live_scopes SET used = at WHERE scope = of_scope AND used < at - 60;
        its_keys := old.keys;
        FOREACH gone IN ARRAY outdated LOOP
            its_keys := array_remove(its_keys, gone);
        END LOOP;
        its_keys := its_keys
            || ARRAY(SELECT key FROM unnest(added) AS key WHERE key <> ALL (its_keys));
    END IF;
    IF outdated <> '{}' THEN
        DELETE FROM live_keys WHERE scope = of_scope AND key = ANY (outdated)
            AND key <> ALL (added) AND ids = ARRAY[of_id];
        UPDATE live_keys SET ids = array_remove(ids, of_id)
            WHERE scope = of_scope AND key = ANY (outdated) AND key <> ALL (added);
    END IF;
    INSERT INTO live_keys
        SELECT DISTINCT of_scope, key, ARRAY[of_id] FROM unnest(added) AS key
        ON CONFLICT (scope, key) DO UPDATE
        SET ids = (live_keys.ids || of_id)
            [greatest(1, cardinality(live_keys.ids) + 2 - candidates):]
        WHERE of_id <> ALL (live_keys.ids);
    INSERT INTO live_sessions VALUES (of_scope, of_id, expected + 1, at, its_keys, new_state)
        ON CONFLICT (scope, id) DO UPDATE SET version = excluded.version, used = excluded.used,
            keys = excluded.keys, state = excluded.state;
    RETURN true;
END
$$;

-- Let up to so many sessions of a scope go: those long unused, and those over its limit.
CREATE FUNCTION live_limit(of_scope bigint, times integer, since double precision, most integer)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    oldest record;
BEGIN
    FOR n IN 1 .. times LOOP
        SELECT id, used INTO oldest FROM live_sessions WHERE scope = of_scope
            ORDER BY used LIMIT 1;
        EXIT WHEN oldest.id IS NULL OR oldest.used >= since
            AND (SELECT sessions FROM live_scopes WHERE scope = of_scope) <= most;
        PERFORM live_remove(of_scope, oldest.id);
    END LOOP;
END
$$;

-- Many changes: number n, of session ids[n], has the next added_counts[n] of all keys that are added,
-- and so on.  Returns, by number, the sessions that others have changed meanwhile.
CREATE FUNCTION live_commit(
    scopes bigint[], ids text[], versions integer[], uses double precision[], states bytea[],
    added_counts integer[], added bigint[], outdated_counts integer[], outdated bigint[],
    gone_after double precision, most integer, candidates integer
) RETURNS TABLE (number integer, id text, version integer, used double precision, state bytea)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    since double precision := extract(epoch FROM clock_timestamp()) - gone_after;
    adds integer := 0;
    outs integer := 0;
    stale bigint;
BEGIN
    -- What is lost when the server crashes is the last fraction of a second; gateways know it still.
    PERFORM set_config('synchronous_commit', 'off', true);
    -- Who changes a scope does so alone, for the length of this call; always in the same order, so
    -- that nobody waits in a circle.
    PERFORM pg_advisory_xact_lock(each) FROM
        (SELECT DISTINCT unnest(scopes) AS each ORDER BY each) AS ordered;
    FOR n IN 1 .. cardinality(ids) LOOP
        IF live_change(
            scopes[n], ids[n], versions[n], uses[n], states[n],
            added[adds + 1 : adds + added_counts[n]],
            outdated[outs + 1 : outs + outdated_counts[n]], candidates
        ) THEN
            -- More than a change can add, so that this keeps up without sweeps.
            PERFORM live_limit(scopes[n], 2, since, most);
        ELSE
            RETURN QUERY SELECT n, session.id, session.version, session.used, session.state
                FROM live_sessions AS session
                WHERE session.scope = scopes[n] AND session.id = ids[n];
        END IF;
        adds := adds + added_counts[n];
        outs := outs + outdated_counts[n];
    END LOOP;
    -- A bit of what belongs to nobody any more, unless somebody is at it.
    SELECT scope INTO stale FROM live_scopes WHERE used < since - 60 ORDER BY used LIMIT 1;
    IF stale IS NOT NULL AND pg_try_advisory_xact_lock(stale) THEN
        PERFORM live_limit(stale, 10, since, most);
        DELETE FROM live_scopes WHERE scope = stale AND sessions <= 0;
    END IF;
END
$$;
