"""Which session a request belongs to: pure rules over values, no clock and no I/O.

``request → plan → (the index looks keys up) → decide → changes → (the index commits them)``,
and after the reply ``extend``.  The rules stand in one table in `gateway_sessions.detection.rules`.
"""
