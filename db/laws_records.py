"""The laws about records: history stays as it was written, and nothing changes without one."""

from db.laws import Law

_HISTORY = [
    *("fills", "fill_allocations", "risk_adjustments", "ledger_entries", "events", "audit_log"),
    *("audit_chain", "audit_seals", "audit_anchors"),
    *("reconciliation_log", "position_adjustments"),
]
_SERVICES = ["nexus_api", "nexus_pipeline", "nexus_broker", "nexus_sealer"]
_PRIVILEGES = ["UPDATE", "DELETE", "TRUNCATE"]
_GUARDS = [
    "trade_ledger.guard",
    "send_attempts.guard",
    "send_attempts.guard_claim",
    "risk_reservations.guard",
    "ledger_entries.balance",
    "fills.allocated",
    "discrepancies.guard",
]

APPEND_ONLY = Law(
    number=6,
    title="history is append-only: no service may change it, and the guards are on",
    checked="""
        SELECT cardinality(CAST(:history AS text[]))
             * (1 + cardinality(CAST(:services AS text[])) * cardinality(CAST(:privileges AS text[])))
             + cardinality(CAST(:guards AS text[]))
    """,
    violations=(
        """
        SELECT format('role %s is missing', s.name)
        FROM unnest(CAST(:services AS text[])) AS s (name)
        WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = s.name)
        """,
        """
        SELECT format('role %s may %s %s', r.rolname, lower(p.name), h.name)
        FROM pg_roles r
        CROSS JOIN unnest(CAST(:history AS text[])) AS h (name)
        CROSS JOIN unnest(CAST(:privileges AS text[])) AS p (name)
        WHERE r.rolname = ANY(CAST(:services AS text[]))
          AND (has_table_privilege(r.oid, h.name, p.name)
               OR (p.name = 'UPDATE' AND has_any_column_privilege(r.oid, h.name, p.name)))
        """,
        # 58 is a trigger before update, delete and truncate.
        """
        SELECT format('%s: the trigger that refuses changes is %s', h.name,
                      CASE WHEN t.oid IS NULL THEN 'missing' ELSE 'off' END)
        FROM unnest(CAST(:history AS text[])) AS h (name)
        LEFT JOIN pg_trigger t ON t.tgrelid = CAST(h.name AS regclass) AND t.tgtype & 58 = 58
            AND t.tgfoid = CAST('refuse_change' AS regproc)
        WHERE t.oid IS NULL OR t.tgenabled <> 'A'
        """,
        """
        SELECT format('guard %s is %s', g.name, CASE WHEN t.oid IS NULL THEN 'missing' ELSE 'off' END)
        FROM unnest(CAST(:guards AS text[])) AS g (name)
        LEFT JOIN pg_trigger t ON t.tgrelid = CAST(split_part(g.name, '.', 1) AS regclass)
            AND t.tgname = split_part(g.name, '.', 2)
        WHERE t.oid IS NULL OR t.tgenabled NOT IN ('O', 'A')
        """,
    ),
    parameters={
        "history": _HISTORY,
        "services": _SERVICES,
        "privileges": _PRIVILEGES,
        "guards": _GUARDS,
    },
)

RECORDED = Law(
    number=7,
    title="no change without a record: trades, reservations and fills agree with audit log and events",
    checked="""
        SELECT (SELECT count(*) FROM trade_ledger) + (SELECT count(*) FROM risk_reservations)
             + (SELECT count(*) FROM fills) + (SELECT count(*) FROM audit_log)
    """,
    violations=(
        """
        SELECT format('trade %s is %s, its newest audit record says %s', t.id, t.state,
                      coalesce(a.state, 'nothing'))
        FROM trade_ledger t
        LEFT JOIN (
            SELECT DISTINCT ON (subject) subject, detail ->> 'state' AS state
            FROM audit_log WHERE subject LIKE 'trade:%' ORDER BY subject, id DESC
        ) a ON a.subject = concat('trade:', t.id)
        WHERE t.state IS DISTINCT FROM a.state
        """,
        """
        SELECT format('trade %s is %s, its newest event says %s', t.id, t.state,
                      coalesce(e.state, 'nothing'))
        FROM trade_ledger t
        LEFT JOIN (
            SELECT DISTINCT ON (trade_id) trade_id, payload ->> 'state' AS state
            FROM events WHERE kind LIKE 'trade.%' ORDER BY trade_id, id DESC
        ) e ON e.trade_id = t.id
        WHERE t.state IS DISTINCT FROM e.state
        """,
        """
        SELECT format('trade %s is %s, and no event says %s', t.id, n.what, n.kind)
        FROM trade_ledger t
        LEFT JOIN risk_reservations r ON r.trade_id = t.id
        CROSS JOIN LATERAL (VALUES
            (true, 'accepted', 'trade.accepted'),
            (r.trade_id IS NOT NULL, 'reserved', 'trade.reserved'),
            (t.closed_at IS NOT NULL, 'settled', 'trade.settled')
        ) AS n (needed, what, kind)
        WHERE n.needed AND NOT EXISTS (SELECT FROM events e WHERE e.trade_id = t.id AND e.kind = n.kind)
        """,
        """
        SELECT format('fill %s: no event says that revision %s was booked', f.ticket, f.revision)
        FROM fills f
        LEFT JOIN events e ON e.kind IN ('fill.booked', 'fill.corrected', 'fill.attributed')
            AND e.account_id = f.account_id
            AND e.payload -> 'fill' ->> 'ticket' = CAST(f.ticket AS text)
            AND e.payload ->> 'revision' = CAST(f.revision AS text)
        WHERE e.id IS NULL
        """,
        """
        SELECT format('transaction %s has %s audit records and %s events of %s', xact, coalesce(a.count, 0),
                      coalesce(e.count, 0), what)
        FROM (SELECT xact, action AS what, count(*) AS count FROM audit_log GROUP BY xact, action) a
        FULL JOIN (SELECT xact, kind AS what, count(*) AS count FROM events GROUP BY xact, kind) e
            USING (xact, what)
        WHERE a.count IS DISTINCT FROM e.count
        """,
    ),
)
