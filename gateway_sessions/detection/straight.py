"""The straight way: what the ladder says of nearly every request, without climbing it.

In a conversation that simply goes on, the history is known to its end by one session, and that
session waits after it.  Then `rules.LADDER` always answers with its rule ``prefix``, after six
others have found nothing to say.  What makes each of them silent is a look at one fact, so these
facts are looked at here, in the order of the rules:

=============  ==============================================================================
rule           is silent because
=============  ==============================================================================
explicit       no header or field names a session
response_id    no field names a reply
reset          no text of the newest message begins with a reset phrase
repeat         no session has sent this very request, and nothing has failed in the one found
subagent       no tool call waits in this scope, or the instructions are the session's own
prefix         (answers: one live session, waiting, its own tool calls if there are any, no id
               that its client gave it, and no look of another application)
=============  ==============================================================================

Where any of them does not hold, or explanations are wanted, the ladder is climbed.  A test climbs
it in either case and compares.
"""

from __future__ import annotations

from gateway_sessions.detection import verdict as v
from gateway_sessions.detection.ask import is_stranger
from gateway_sessions.detection.echo import CALL, EchoIndex
from gateway_sessions.detection.phrases import ResetPhrases
from gateway_sessions.detection.plan import Plan, call_key
from gateway_sessions.detection.rules_of_history import GOES_ON
from gateway_sessions.detection.verdict import Verdict
from gateway_sessions.detection.view import View


def straight(
    plan: Plan, view: View, oldest: float, phrases: ResetPhrases, echo: EchoIndex
) -> Verdict | None:
    """Return the verdict on a request that goes on where one session waits; None for any other.

    Args:
        plan: the request.
        view: the index.
        oldest: sessions that were used before this time have expired; unix seconds.
        phrases: what begins anew.
        echo: the tool calls that wait.
    """
    tail, scope = plan.walk.tail, plan.scope
    if plan.explicit is not None or plan.repeat_key or plan.conversation.fields or tail is None:
        return None
    reply = tail.before
    if reply is None or reply.before is None or tail.model_side:
        return None
    found = view.candidates(scope.seed, reply.state)
    if len(found) != 1:
        return None
    session = found[0]
    known = not session.failed and not session.explicit_key and session.used >= oldest
    if not known or not session.waits_at(reply.state):
        return None
    if reply.call_ids and session.anchor_place(call_key(scope, reply.call_ids[0])) < 0:
        return None
    elsewhere = session.client != plan.client or session.model != plan.model
    if (elsewhere and is_stranger(session, plan)) or (
        session.agent != plan.agent and echo.holds(scope.seed, CALL)
    ):
        return None
    if (
        view.candidates(scope.seed, plan.request_state)
        or phrases.begins(plan.walk.prompt_texts()) is not None
    ):
        return None
    return Verdict(session, v.CONTINUE, v.PREFIX, 1.0, GOES_ON)
