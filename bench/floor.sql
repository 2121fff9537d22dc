-- One batch of the sweep's own work, L1 -> L2 of the timeout path, for steps due at %(now)s: the same
-- rows in the same tables, by one statement, with no routing, no objects and no hashes.
WITH due AS (
  SELECT id, ref, chain_length FROM approvals_actionrequest
  WHERE state = 'pending' AND due_at <= %(now)s ORDER BY due_at, id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
), expired AS (
  UPDATE approvals_step s SET state = 'expired', closed_at = %(now)s FROM due
  WHERE s.request_id = due.id AND s.state = 'waiting' RETURNING s.id, s.request_id, s.case_id, s.due_at
), closed AS (
  UPDATE approvals_ask a SET due_at = NULL, next_ping_at = NULL FROM expired e
  WHERE a.step_id = e.id AND a.due_at IS NOT NULL
), raised AS (
  UPDATE approvals_case c SET highest_level = 2 FROM expired e WHERE c.id = e.case_id
), opened AS (
  INSERT INTO approvals_step (request_id, case_id, path, level, state, needed, "window", began, opened_at, due_at)
  SELECT request_id, case_id, 'timeout', 2, 'waiting', 1, interval '2 hours', 'expired', due_at, due_at + interval '2 hours'
  FROM expired RETURNING id, request_id, due_at
), asked AS (
  INSERT INTO approvals_ask (step_id, person_id, path, why, position, asked_at, due_at, pings, passed_over_at, passed_over_reason)
  SELECT o.id, p.id, 'timeout', CASE WHEN p.asked THEN 'second delegate for vendor payments under $25,000.00' ELSE '' END,
    0, CASE WHEN p.asked THEN %(now)s END, CASE WHEN p.asked THEN o.due_at END, 0,
    CASE WHEN NOT p.asked THEN %(now)s END, CASE WHEN p.asked THEN '' ELSE 'is away until 21 Dec 09:00' END
  FROM opened o, (VALUES (%(asked)s, TRUE), (%(passed)s, FALSE)) AS p (id, asked) RETURNING id, step_id, person_id, due_at
), told AS (
  INSERT INTO approvals_notice (kind, via, state, request_id, ask_id, person_id, channel_id, facts, urgent, created_at, attempts, next_attempt_at, last_error)
  SELECT 'asked', 'email', 'waiting', o.request_id, a.id, a.person_id, %(channel)s, '{}', FALSE, %(now)s, 0, %(now)s, ''
  FROM asked a JOIN opened o ON o.id = a.step_id WHERE a.due_at IS NOT NULL
), recorded AS (
  INSERT INTO governance_auditevent (chain, seq, kind, actor, on_behalf_of, facts, cause, at, prev_hash, hash)
  SELECT ref, chain_length + e.n, e.kind, 'clock', '', '{"path": "timeout", "level": 1, "needed": 1, "asked": ["person:controller"]}',
    gen_random_uuid(), %(now)s, repeat('0', 64), repeat('0', 64)
  FROM due, (VALUES (1, 'step.expired'), (2, 'step.opened')) AS e (n, kind)
)
UPDATE approvals_actionrequest r SET due_at = o.due_at, chain_length = r.chain_length + 2, chain_hash = repeat('0', 64)
FROM opened o WHERE r.id = o.request_id
