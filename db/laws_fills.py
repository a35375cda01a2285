"""The laws about what came from the broker: booked once, read in full, and exact to the last digit."""

from db.laws import AT_ONCE, Law

BOOKED_ONCE = Law(
    number=4,
    title="every deal is booked once and allocated in full",
    checked="SELECT count(*) FROM current_fills",
    violations=(
        """
        SELECT format('fill %s has revisions %s', ticket,
                      string_agg(CAST(revision AS text), ', ' ORDER BY revision))
        FROM fills GROUP BY account_id, ticket HAVING min(revision) <> 1 OR max(revision) <> count(*)
        """,
        """
        SELECT format('fill %s: revision %s repeats the one before it', ticket, revision)
        FROM (
            SELECT ticket, revision, source, content_hash,
                   lag(content_hash) OVER (PARTITION BY account_id, ticket ORDER BY revision) AS before
            FROM fills
        ) f
        WHERE content_hash = before AND source <> 'attribution'
        """,
        """
        SELECT format('fill %s: %s lots, profit %s, commission %s, swap %s, fee %s; allocated %s, %s, %s, %s, %s',
                      f.ticket, f.volume, f.profit, f.commission, f.swap, f.fee,
                      a.volume, a.profit, a.commission, a.swap, a.fee)
        FROM current_fills f
        LEFT JOIN (
            SELECT n.account_id, n.ticket, sum(l.volume) AS volume, sum(l.profit) AS profit,
                   sum(l.commission) AS commission, sum(l.swap) AS swap, sum(l.fee) AS fee
            FROM fill_allocations l JOIN fills n ON n.id = l.fill_id GROUP BY n.account_id, n.ticket
        ) a ON a.account_id = f.account_id AND a.ticket = f.ticket
        WHERE (f.volume, f.profit, f.commission, f.swap, f.fee)
           IS DISTINCT FROM (a.volume, a.profit, a.commission, a.swap, a.fee)
        """,
        # A broker settles a cancelled fill of a position by trades of its own; until then closed is not opened.
        """
        SELECT format('trade %s has closed %s lots more of position %s than it opened', a.trade_id,
                      sum(CASE a.role WHEN 'close' THEN a.volume ELSE -a.volume END), f.position_id)
        FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
        WHERE a.trade_id IS NOT NULL AND a.role IN ('open', 'close') AND NOT EXISTS (
            SELECT FROM fills c
            WHERE c.account_id = f.account_id AND c.position_id = f.position_id AND c.kind = 'cancelled')
        GROUP BY a.trade_id, f.account_id, f.position_id
        HAVING sum(CASE a.role WHEN 'close' THEN a.volume ELSE -a.volume END) > 0
        """,
        """
        SELECT format('position %s: nobody closed %s lots more than nobody opened, and trades have %s lots open',
                      position_id, -nobodys, ours)
        FROM (
            SELECT f.account_id, f.position_id,
                   sum(CASE a.role WHEN 'open' THEN a.volume ELSE -a.volume END)
                       FILTER (WHERE a.trade_id IS NULL) AS nobodys,
                   sum(CASE a.role WHEN 'open' THEN a.volume ELSE -a.volume END)
                       FILTER (WHERE a.trade_id IS NOT NULL) AS ours
            FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
            WHERE a.role IN ('open', 'close') GROUP BY f.account_id, f.position_id
        ) p
        WHERE nobodys < 0 AND ours > 0
        """,
        """
        SELECT format('trade %s says %s lots at %s; its fills %s at %s', t.id, t.filled_volume,
                      round(t.average_price, 8), coalesce(f.volume, 0), round(f.price, 8))
        FROM trade_ledger t
        LEFT JOIN (
            SELECT c.trade_id, sum(c.volume) AS volume, sum(c.volume * c.price) / nullif(sum(c.volume), 0) AS price
            FROM current_fills c JOIN trade_ledger o ON o.id = c.trade_id
            WHERE c.kind = 'trade' AND c.position_id IS DISTINCT FROM o.close_by_position_id GROUP BY c.trade_id
        ) f ON f.trade_id = t.id
        WHERE t.filled_volume <> coalesce(f.volume, 0)
           OR round(t.average_price, 8) IS DISTINCT FROM round(f.price, 8)
        """,
    ),
)

# A position that the broker no longer shows stays until the fill that closed it is booked.
UNTIL_ITS_EXIT_SHOWS = "interval '1 minute'"

_NEWEST_SNAPSHOTS = """
    SELECT DISTINCT ON (account_id) account_id, read_at, balance, credit
    FROM account_snapshots ORDER BY account_id, minute_at DESC
"""

# The states of a discrepancy that waits.
_CALLED = "'kept_out', 'open', 'disputed'"

NO_ANSWER_NO_CHANGE = Law(
    number=8,
    title="a failed query changes nothing: account, positions and fills are of one complete reading",
    checked="""
        SELECT (SELECT count(*) FROM broker_positions)
             + (SELECT count(DISTINCT (account_id, position_id)) FROM fills WHERE position_id <> 0)
    """,
    violations=(
        f"""
        SELECT format('account %s: position %s was read at %s, the account at %s', b.slug, p.position_id,
                      p.read_at, coalesce(CAST(s.read_at AS text), 'no time'))
        FROM broker_positions p
        JOIN broker_accounts b ON b.id = p.account_id
        LEFT JOIN ({_NEWEST_SNAPSHOTS}) s ON s.account_id = p.account_id
        WHERE s.read_at IS NULL OR p.read_at > s.read_at OR p.read_at < s.read_at - {UNTIL_ITS_EXIT_SHOWS}
        """,  # noqa: S608 - the only part put in is our own constant
        # A position that an empty answer took away: no fill has closed it.
        f"""
        SELECT format('account %s: position %s is gone, and its fills leave %s lots open', b.slug, o.position_id,
                      o.volume)
        FROM (
            SELECT f.account_id, f.position_id, max(f.booked_at) AS booked_at,
                   sum(CASE a.role WHEN 'open' THEN a.volume WHEN 'close' THEN -a.volume ELSE 0 END) AS volume
            FROM fill_allocations a JOIN fills f ON f.id = a.fill_id
            WHERE f.position_id <> 0 GROUP BY f.account_id, f.position_id
        ) o
        JOIN broker_accounts b ON b.id = o.account_id
        JOIN ({_NEWEST_SNAPSHOTS}) s ON s.account_id = o.account_id
        WHERE o.volume > 0 AND s.read_at > o.booked_at + {AT_ONCE} AND NOT EXISTS (
            SELECT FROM broker_positions p WHERE p.account_id = o.account_id AND p.position_id = o.position_id)
        AND NOT EXISTS (
            SELECT FROM position_adjustments j
            WHERE j.account_id = o.account_id AND j.position_id = o.position_id)
        AND NOT EXISTS (
            SELECT FROM discrepancies d WHERE d.account_id = o.account_id AND d.number = o.position_id
                AND d.kind = 'position_missing' AND d.state IN ({_CALLED}))
        """,  # noqa: S608 - as above
    ),
)

EXACT = Law(
    number=9,
    title="money is exact: ledger, fills, daily sums and the broker's balance agree",
    checked="""
        SELECT (SELECT count(DISTINCT event_id) FROM ledger_entries) + (SELECT count(*) FROM current_fills)
             + (SELECT count(*) FROM user_daily_stats)
             + (SELECT count(DISTINCT account_id) FROM account_snapshots)
    """,
    violations=(
        """
        SELECT format('ledger event %s is off by %s %s', event_id, sum(amount), currency)
        FROM ledger_entries GROUP BY event_id, currency HAVING sum(amount) <> 0
        """,
        """
        SELECT format('ledger event %s: line %s is in %s, its account in %s', e.event_id, e.line, e.currency,
                      l.currency)
        FROM ledger_entries e JOIN ledger_accounts l ON l.id = e.ledger_account_id
        WHERE e.currency <> l.currency
        """,
        """
        SELECT format('fill %s brought %s %s, the ledger says %s', f.ticket,
                      f.profit + f.commission + f.swap + f.fee, f.currency, coalesce(c.amount, 0))
        FROM current_fills f
        LEFT JOIN (
            SELECT n.account_id, n.ticket, sum(e.amount) AS amount
            FROM ledger_entries e
            JOIN ledger_accounts l ON l.id = e.ledger_account_id
            JOIN fills n ON n.id = e.fill_id
            WHERE l.code = 'broker_cash' GROUP BY n.account_id, n.ticket
        ) c ON c.account_id = f.account_id AND c.ticket = f.ticket
        WHERE f.profit + f.commission + f.swap + f.fee <> coalesce(c.amount, 0)
        """,
        # The causes are what others lost for the account to gain: the negative of what is allocated.
        """
        SELECT format('fill %s: the ledger and the allocations differ by %s for %s', ticket, sum(amount),
                      coalesce('trade ' || trade_id, 'nobody''s trade'))
        FROM (
            SELECT n.account_id, n.ticket, e.trade_id, e.amount
            FROM ledger_entries e
            JOIN ledger_accounts l ON l.id = e.ledger_account_id
            JOIN fills n ON n.id = e.fill_id
            WHERE l.code <> 'broker_cash'
            UNION ALL
            SELECT n.account_id, n.ticket, a.trade_id, a.profit + a.commission + a.swap + a.fee
            FROM fill_allocations a JOIN fills n ON n.id = a.fill_id
        ) m
        GROUP BY account_id, ticket, trade_id HAVING sum(amount) <> 0
        """,
        """
        SELECT format('user %s on %s: the day is off by profit %s, commission %s, swap %s, fee %s', user_id, day,
                      sum(profit), sum(commission), sum(swap), sum(fee))
        FROM (
            SELECT account_id, user_id, day, profit, commission, swap, fee FROM user_daily_stats
            UNION ALL
            SELECT f.account_id, t.user_id, CAST(c.executed_at AT TIME ZONE b.day_zone AS date),
                   -a.profit, -a.commission, -a.swap, -a.fee
            FROM fill_allocations a
            JOIN fills f ON f.id = a.fill_id
            JOIN current_fills c ON c.account_id = f.account_id AND c.ticket = f.ticket
            JOIN trade_ledger t ON t.id = a.trade_id
            JOIN broker_accounts b ON b.id = f.account_id
        ) m
        GROUP BY account_id, user_id, day
        HAVING (sum(profit), sum(commission), sum(swap), sum(fee)) <> (0, 0, 0, 0)
        """,
        # Only a snapshot that is younger than the newest booking shows all that the ledger has. What waits as a
        # discrepancy is called unexplained already.
        f"""
        SELECT format('account %s: the broker shows %s %s, the ledger %s; %s is unexplained', b.slug,
                      s.balance + s.credit, b.currency, c.amount, s.balance + s.credit - c.amount - w.amount)
        FROM broker_accounts b
        JOIN ({_NEWEST_SNAPSHOTS}) s ON s.account_id = b.id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(e.amount), 0) AS amount
            FROM ledger_entries e JOIN ledger_accounts l ON l.id = e.ledger_account_id
            WHERE l.account_id = b.id AND l.code = 'broker_cash'
        ) c
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(d.theirs - d.ours), 0) AS amount FROM discrepancies d
            WHERE d.account_id = b.id AND d.kind IN ('balance', 'credit') AND d.state IN ({_CALLED})
        ) w
        WHERE s.balance + s.credit <> c.amount + w.amount AND NOT EXISTS (
            SELECT FROM fills f WHERE f.account_id = b.id AND f.booked_at + {AT_ONCE} >= s.read_at)
        AND NOT EXISTS (
            SELECT FROM ledger_entries e JOIN ledger_accounts l ON l.id = e.ledger_account_id
            WHERE l.account_id = b.id AND e.posted_at + {AT_ONCE} >= s.read_at)
        """,  # noqa: S608 - the only parts put in are our own constants
    ),
)
