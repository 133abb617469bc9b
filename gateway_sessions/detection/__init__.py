"""Which session a request belongs to: pure rules over values, no clock and no I/O.

``request → plan → (the index looks keys up) → decide → keys → (the index commits them)``, and
after the reply ``answered`` or ``failed``.  The rules stand in one table, in
`gateway_sessions.detection.rules`.
"""
