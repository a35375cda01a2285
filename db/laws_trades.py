"""The laws about trades: one send, silence, limits, the stop, and answers that are durable."""

from db.laws import AT_ONCE, Law

ONE_SEND = Law(
    number=1,
    title="one send: no trade is executed by more than one order",
    checked="SELECT count(*) FROM send_attempts",
    violations=(
        """
        SELECT format('trade %s: %s of its claims may each have been executed', trade_id, count(*))
        FROM send_attempts WHERE outcome IS NULL OR outcome NOT IN ('rejected', 'not_sent')
        GROUP BY trade_id HAVING count(*) > 1
        """,
        """
        SELECT format('trade %s: claim %s carries magic %s, the trade has %s', t.id, a.number, a.magic, t.magic)
        FROM send_attempts a JOIN trade_ledger t ON t.id = a.trade_id
        WHERE (a.account_id, a.magic) <> (t.account_id, t.magic)
        """,
        """
        SELECT format('trade %s: the broker has orders %s for it', trade_id,
                      string_agg(CAST(broker_order_id AS text), ', ' ORDER BY broker_order_id))
        FROM (
            SELECT trade_id, broker_order_id FROM current_fills WHERE kind = 'trade' AND trade_id IS NOT NULL
            UNION
            SELECT t.id, f.broker_order_id
            FROM current_fills f JOIN trade_ledger t ON t.account_id = f.account_id AND t.magic = f.magic
            WHERE f.kind = 'trade' AND f.entry IN ('in', 'inout')
            UNION
            SELECT trade_id, broker_order_id FROM send_attempts
            UNION
            SELECT id, broker_order_id FROM trade_ledger
        ) o
        WHERE broker_order_id <> 0
        GROUP BY trade_id HAVING count(*) > 1
        """,
        """
        SELECT format('trade %s: %s lots were executed, %s were asked for', t.id, sum(f.volume), t.volume)
        FROM trade_ledger t JOIN current_fills f ON f.trade_id = t.id
        WHERE f.kind = 'trade' AND f.position_id IS DISTINCT FROM t.close_by_position_id
        GROUP BY t.id HAVING sum(f.volume) > t.volume
        """,
        # A close by an opposite position takes the same lots from both.
        """
        SELECT format('trade %s: %s lots of position %s were closed by %s lots of position %s', t.id,
                      sum(f.volume) FILTER (WHERE f.position_id = t.position_id), t.position_id,
                      sum(f.volume) FILTER (WHERE f.position_id = t.close_by_position_id), t.close_by_position_id)
        FROM trade_ledger t JOIN current_fills f ON f.trade_id = t.id
        WHERE f.kind = 'trade' AND t.close_by_position_id IS NOT NULL AND t.closed_at < now() - interval '1 minute'
        GROUP BY t.id
        HAVING sum(f.volume) FILTER (WHERE f.position_id = t.position_id)
            IS DISTINCT FROM sum(f.volume) FILTER (WHERE f.position_id = t.close_by_position_id)
        """,
        """
        SELECT format('trade %s is %s with %s lots filled, and nobody claimed a send', t.id, t.state,
                      t.filled_volume)
        FROM trade_ledger t
        WHERE (t.filled_volume > 0 OR t.state IN ('working', 'partially_filled', 'filled', 'unresolved'))
          AND NOT EXISTS (SELECT FROM send_attempts a WHERE a.trade_id = t.id)
          -- Books that were put back have forgotten the claim; that was alerted when its fill came.
          AND NOT EXISTS (SELECT FROM alerts a WHERE a.trade_id = t.id AND a.kind = 'unclaimed_fill')
        """,
    ),
)

SILENCE = Law(
    number=2,
    title="silence is not an answer: an unanswered send keeps its reservation and is not repeated",
    checked="SELECT count(*) FROM send_attempts",
    violations=(
        """
        SELECT format('trade %s is unresolved, and its reservation is %s', t.id, coalesce(r.state, 'missing'))
        FROM trade_ledger t LEFT JOIN risk_reservations r ON r.trade_id = t.id
        WHERE t.state = 'unresolved' AND (r.trade_id IS NULL OR r.state <> 'held' OR NOT r.counted)
        """,
        """
        SELECT format('trade %s is unresolved, and not shown as needing attention', id)
        FROM trade_ledger WHERE state = 'unresolved' AND NOT needs_attention
        """,
        # A settled reservation has fills, and they are an answer; so is the word of a named person.
        """
        SELECT format('trade %s: claim %s has no answer, and its reservation is %s', t.id, a.number,
                      coalesce(r.state, 'missing'))
        FROM send_attempts a
        JOIN trade_ledger t ON t.id = a.trade_id
        LEFT JOIN risk_reservations r ON r.trade_id = a.trade_id
        WHERE (a.outcome IS NULL OR a.outcome = 'unresolved') AND t.state <> 'unresolved'
          AND (r.trade_id IS NULL OR r.state IN ('released', 'expired'))
          AND NOT EXISTS (SELECT FROM trade_commands c
                          WHERE c.trade_id = a.trade_id AND c.kind = 'resolve' AND c.outcome = 'done')
        """,
        """
        SELECT format('trade %s: claim %s was made while claim %s has no answer', a.trade_id, b.number, a.number)
        FROM send_attempts a JOIN send_attempts b ON b.trade_id = a.trade_id AND b.number > a.number
        WHERE a.outcome IS NULL OR a.outcome = 'unresolved'
        """,
        """
        SELECT format('trade %s: claim %s counts as absent, and its sender was never proven dead', trade_id,
                      number)
        FROM send_attempts WHERE outcome = 'rejected' AND reason = 'absent' AND sender_ended_at IS NULL
        """,
    ),
)

LIMITS = Law(
    number=3,
    title="limits hold: totals equal what they total, and no limit is passed by what is held under it",
    checked="""
        SELECT (SELECT count(*) FROM exposure_totals) + (SELECT count(*) FROM risk_reservations)
             + (SELECT count(*) FROM risk_limits WHERE superseded_at IS NULL)
    """,
    violations=(
        """
        SELECT format('account %s, user %s: totals say loss %s, notional %s, margin %s; reservations %s, %s, %s',
                      b.slug, e.user_id, e.held_loss, e.held_notional, e.held_margin,
                      coalesce(r.loss, 0), coalesce(r.notional, 0), coalesce(r.margin, 0))
        FROM exposure_totals e
        JOIN broker_accounts b ON b.id = e.account_id
        LEFT JOIN (
            SELECT account_id, user_id, sum(loss) AS loss, sum(notional) AS notional, sum(margin) AS margin
            FROM risk_reservations WHERE counted GROUP BY account_id, user_id
        ) r ON r.account_id = e.account_id AND r.user_id = e.user_id
        WHERE (e.held_loss, e.held_notional, e.held_margin)
           <> (coalesce(r.loss, 0), coalesce(r.notional, 0), coalesce(r.margin, 0))
        """,
        """
        SELECT format('trade %s: %s lots, loss %s, notional %s, margin %s claimed; adjustments say %s, %s, %s, %s',
                      r.trade_id, r.volume, r.loss, r.notional, r.margin, coalesce(a.volume, 0),
                      coalesce(a.loss, 0), coalesce(a.notional, 0), coalesce(a.margin, 0))
        FROM risk_reservations r
        LEFT JOIN (
            SELECT trade_id, sum(volume) AS volume, sum(loss) AS loss, sum(notional) AS notional,
                   sum(margin) AS margin
            FROM risk_adjustments GROUP BY trade_id
        ) a ON a.trade_id = r.trade_id
        WHERE (r.volume, r.loss, r.notional, r.margin)
           <> (coalesce(a.volume, 0), coalesce(a.loss, 0), coalesce(a.notional, 0), coalesce(a.margin, 0))
        """,
        """
        SELECT format('trade %s: its reservation is %s and no longer counts, but still claims %s lots', trade_id,
                      state, volume)
        FROM risk_reservations
        WHERE NOT counted AND (volume, loss, notional, margin) <> (0, 0, 0, 0)
        """,
        # What was held before a limit was set, or while it was loosened, was held under another one.
        """
        SELECT format('account %s: %s %s is held%s, and the limit %s is %s', b.slug, sum(h.amount), l.currency,
                      ' in ' || h.symbol, l.name, l.value)
        FROM risk_limits l
        JOIN broker_accounts b ON b.id = l.account_id
        CROSS JOIN LATERAL (
            SELECT greatest(l.created_at, max(least(t.expires_at, t.superseded_at))) AS began_at
            FROM risk_limits t
            WHERE t.account_id = l.account_id AND t.user_id IS NOT DISTINCT FROM l.user_id AND t.name = l.name
                AND t.expires_at IS NOT NULL AND l.expires_at IS NULL
        ) s
        JOIN risk_reservations r ON r.account_id = l.account_id AND r.counted AND r.held_at >= s.began_at
            AND r.currency = l.currency AND (l.user_id IS NULL OR r.user_id = l.user_id)
        CROSS JOIN LATERAL (
            SELECT CASE l.name WHEN 'daily_loss' THEN r.loss ELSE r.notional END AS amount,
                   CASE l.name WHEN 'position_size' THEN r.symbol END AS symbol
        ) h
        WHERE l.name IN ('daily_loss', 'position_size') AND l.superseded_at IS NULL
          AND (l.expires_at IS NULL OR l.expires_at > now())
        GROUP BY b.slug, l.id, h.symbol HAVING sum(h.amount) > l.value
        """,
    ),
)

STOP = Law(
    number=5,
    title="stop means stop: no send is claimed under a stop, but for closes that may pass it",
    checked="SELECT count(*) FROM trading_control",
    violations=(
        # A stop waits for the claims that are being made while it is set.
        f"""
        SELECT format('trade %s: claim %s at %s, and %s has been %s since %s', t.id, a.number, a.claimed_at,
                      concat_ws(' ', c.scope, nullif(c.scope_id, '')), c.state, c.set_at)
        FROM trading_control c
        JOIN send_attempts a ON a.claimed_at > c.set_at + {AT_ONCE}
        JOIN trade_ledger t ON t.id = a.trade_id
        JOIN broker_accounts b ON b.id = t.account_id
        WHERE c.state <> 'active' AND t.stop_id IS NULL AND (t.position_id IS NULL OR c.state = 'halted')
          AND (c.scope, c.scope_id) IN (('all', ''), ('account', b.slug), ('user', CAST(t.user_id AS text)),
                                        ('symbol', t.symbol))
        """,  # noqa: S608 - the only part put in is our own constant
    ),
)

DURABLE = Law(
    number=10,
    title="yes after durable: what a trade's state says is complete in the books",
    checked="SELECT count(*) FROM trade_ledger",
    violations=(
        """
        SELECT format('trade %s is %s%s, %s', t.id, t.state,
                      CASE WHEN t.closed_at IS NOT NULL THEN ' and settled' END, w.what)
        FROM trade_ledger t
        LEFT JOIN risk_reservations r ON r.trade_id = t.id
        CROSS JOIN LATERAL (VALUES
            ((t.state = 'pending') <> (t.decided_at IS NULL), 'which the instant of its decision contradicts'),
            (t.closed_at IS NOT NULL AND t.state IN ('pending', 'working', 'partially_filled', 'unresolved'),
             'though its state is not final'),
            (t.closed_at IS NOT NULL AND r.state = 'held', 'though its reservation is held'),
            (t.closed_at IS NULL AND r.state <> 'held', 'though its reservation is ' || r.state),
            (t.state IN ('working', 'partially_filled', 'filled', 'unresolved') AND r.trade_id IS NULL
             AND NOT EXISTS (SELECT FROM alerts a WHERE a.trade_id = t.id AND a.kind = 'unclaimed_fill'),
             'without a reservation'),
            (t.state IN ('working', 'partially_filled', 'filled') AND t.broker_order_id IS NULL,
             'without the number of its order'),
            -- The broker may cancel a fill afterwards: what is filled then is in the books, not in the state.
            (t.state = 'filled' AND t.filled_volume < t.volume AND NOT EXISTS (
                SELECT FROM fills f WHERE f.trade_id = t.id AND f.kind = 'cancelled'), 'though only in part'),
            (t.state = 'denied' AND t.denials = '[]', 'and no gate says why'),
            (t.workflow_id <> concat('trade-', t.user_id, '-', t.client_order_id),
             'under the workflow of another order: ' || t.workflow_id)
        ) AS w (broken, what)
        WHERE w.broken
        """,
    ),
)
