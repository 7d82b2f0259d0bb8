-- Event triggers that write, into the server's log, what a statement really did. The log and not a table: what
-- they say stays when the transaction, or a savepoint of it, is rolled back.
CREATE SCHEMA waybill_trace;

CREATE FUNCTION waybill_trace.ended() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    objects json;
    locks json;
BEGIN
    SELECT json_agg(DISTINCT object_identity) INTO objects
      FROM (SELECT object_identity FROM pg_event_trigger_ddl_commands() LIMIT 50) o;
    SELECT json_object_agg(n.nspname || '.' || c.relname, k.mode) INTO locks
      FROM (SELECT relation, (array_agg(mode ORDER BY array_position(
                        ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock'], mode)))[1] AS mode
              FROM pg_locks
             WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
               AND mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock')
             GROUP BY relation) k
      JOIN pg_class c ON c.oid = k.relation AND c.relkind IN ('r', 'p', 'm')
      JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\_%'
     WHERE c.oid IN (
        SELECT CASE WHEN d.classid = 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = d.objid)
                    WHEN i.indrelid IS NOT NULL THEN i.indrelid ELSE d.objid END
          FROM pg_event_trigger_ddl_commands() d LEFT JOIN pg_index i ON i.indexrelid = d.objid);
    RAISE LOG 'waybill-trace %', json_build_object('tag', tg_tag, 'objects', objects, 'locks', locks);
END $$;

CREATE FUNCTION waybill_trace.rewrites() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    RAISE LOG 'waybill-trace %', json_build_object('tag', tg_tag, 'rewrites', json_build_array(
        (SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.oid = pg_event_trigger_table_rewrite_oid())));
END $$;

CREATE FUNCTION waybill_trace.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    gone json;
BEGIN
    SELECT json_agg(object_type || ' ' || object_identity) INTO gone
      FROM (SELECT object_type, object_identity FROM pg_event_trigger_dropped_objects()
             WHERE (original OR object_type IN ('table', 'table column')) AND schema_name NOT LIKE 'pg\_%' LIMIT 50) o;
    IF gone IS NOT NULL THEN
        RAISE LOG 'waybill-trace %', json_build_object('tag', tg_tag, 'dropped', gone);
    END IF;
END $$;

CREATE EVENT TRIGGER waybill_trace_ended ON ddl_command_end EXECUTE FUNCTION waybill_trace.ended();
CREATE EVENT TRIGGER waybill_trace_rewrites ON table_rewrite EXECUTE FUNCTION waybill_trace.rewrites();
CREATE EVENT TRIGGER waybill_trace_dropped ON sql_drop EXECUTE FUNCTION waybill_trace.dropped();
