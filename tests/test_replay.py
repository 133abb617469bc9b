from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_sessions import replay
from gateway_sessions.detection.settings import DetectionSettings, ScopeSettings
from gateway_sessions.exchange import SessionTag
from gateway_sessions.exchange_log import read_log
from gateway_sessions.replay import LoggedVerdict, Replay
from gateway_sessions.telemetry import Telemetry
from gateway_sessions.testing import assistant, user
from gateway_sessions.tracker import Tracker
from tests.traffic import CHAT, chunks, completion, message_events

START = datetime(2026, 2, 8, 7, 22, 40, 552000, UTC)
SECRET = b"a secret for tests only"
HELLO = [user("hi"), assistant("Hello!")]
Line = dict[str, Any]


def line(at: float, *messages: Any, reply: Any = "Hello!", lasts: float = 1.0, **more: Any) -> Line:
    """Return an exchange that began so many seconds after the start and took so many."""
    body = {"model": "m", "messages": [user(m) if isinstance(m, str) else m for m in messages]}
    answer = json.loads(completion(reply)) if isinstance(reply, str) else reply
    made: Line = {
        "request_id": f"r{at:g}",
        "timestamp": (START + timedelta(seconds=at)).isoformat(),
        "request": {
            "method": "POST",
            "path": CHAT,
            "headers": {"Authorization": "Bearer key", "User-Agent": "tests/1"},
            "body": body,
        },
        "response": {"status": 200, "body": answer, "duration_ms": lasts * 1000},
    }
    for place, value in more.items():
        outer, _, inner = place.partition("_")
        if inner:
            made.setdefault(outer, {})[inner] = value
        else:
            made[outer] = value
    return made


def tracker(**settings: Any) -> Tracker:
    return Tracker(DetectionSettings(**settings), SECRET, Telemetry())


def verdicts(*lines: Line, follow: Tracker | None = None) -> list[LoggedVerdict]:
    log = read_log(json.dumps(each) for each in lines)
    return list(Replay(follow or tracker()).verdicts(log))


def tags(*lines: Line, follow: Tracker | None = None) -> list[SessionTag]:
    found = [verdict.tag for verdict in verdicts(*lines, follow=follow)]
    return [tag for tag in found if tag is not None]


def relations(*lines: Line) -> list[str]:
    return [tag.relation for tag in tags(*lines)]


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine stand where it is nine hours later than in UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


class TestTime:
    def test_a_conversation(self) -> None:
        found = verdicts(line(0, "hi"), line(5, *HELLO, "more"))
        assert [verdict.request_id for verdict in found] == ["r0", "r5"]
        one, other = (verdict.tag for verdict in found)
        assert one is not None
        assert other is not None
        assert (one.relation, other.relation) == ("first", "continue")
        assert one.session_id == other.session_id

    def test_a_reply_that_ends_after_a_request_began_is_unknown_to_it(self) -> None:
        assert relations(line(0, "hi", lasts=5), line(4.9, *HELLO, "more")) == ["first", "first"]

    def test_a_reply_that_ends_as_a_request_begins_is_known_to_it(self) -> None:
        assert relations(line(0, "hi", lasts=5), line(5, *HELLO, "more")) == ["first", "continue"]

    def test_replies_take_effect_in_the_order_of_their_ends(self) -> None:
        # The first request ends last: at 2.5 only the second session has its answer.
        long, short = line(0, "hi", lasts=10), line(1, "hi", lasts=1)
        found = tags(long, short, line(2.5, *HELLO, "more"), line(20, *HELLO, "else"))
        assert found[2].session_id == found[1].session_id
        assert found[3].session_id == found[0].session_id
        assert found[3].relation == "continue"

    def test_a_repeat_before_the_end_and_after_it(self) -> None:
        again = [*HELLO, "more"]
        before = relations(line(0, "hi"), line(5, *again, lasts=5), line(6, *again))
        after = relations(line(0, "hi"), line(5, *again, lasts=5), line(11, *again))
        assert (before[2], after[2]) == ("retry", "regenerate")

    def test_the_log_is_the_clock(self) -> None:
        follow = tracker(session_ttl_seconds=60)
        first, second = tags(line(0, "hi"), line(62, *HELLO, "more"), follow=follow)
        assert second.session_id != first.session_id
        assert second.previous_session_id == first.session_id
        same = tags(line(0, "hi"), line(60, *HELLO, "more"), follow=tracker(session_ttl_seconds=60))
        assert len({tag.session_id for tag in same}) == 1

    @pytest.mark.usefixtures("tokyo")
    def test_a_time_without_a_zone_is_utc(self) -> None:
        bare = line(5, *HELLO, "more")
        bare["timestamp"] = bare["timestamp"].replace("+00:00", "")
        elsewhere = line(9, *HELLO, "more", reply="Yes.")
        elsewhere["timestamp"] = (START + timedelta(hours=2, seconds=9)).strftime(
            "%Y-%m-%dT%H:%M:%S+02:00"
        )
        assert relations(line(0, "hi", lasts=4), bare, elsewhere)[1:] == ["continue", "regenerate"]

    def test_a_negative_duration_is_none(self) -> None:
        lines = line(0, "hi", lasts=-50), line(30, *HELLO, "more")
        found = tags(*lines, follow=tracker(session_ttl_seconds=60))
        assert found[1].relation == "continue"

    def test_everything_is_closed_at_the_end(self) -> None:
        follow = tracker()
        tags(line(0, "hi", lasts=1000), follow=follow)
        again = tags(line(2000, *HELLO, "more"), follow=follow)
        assert again[0].relation == "continue"

    def test_verdicts_come_one_by_one(self) -> None:
        taken: list[int] = []

        def log() -> Iterable[str]:
            for number in range(3):
                taken.append(number)
                yield json.dumps(line(number, "hi"))

        found = Replay(tracker()).verdicts(read_log(log()))
        next(found)
        assert taken == [0]

    def test_replies_that_never_come_do_not_fill_the_memory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "OPEN_BYTES", 100_000)
        follow = Replay(tracker())
        long = "x" * 5000
        log = read_log(json.dumps(line(n, f"{n} {long}", lasts=1e9)) for n in range(100))
        for exchange in log:
            follow.verdict(exchange)
            assert len(follow._open) <= 20
        assert follow._open_bytes <= 100_000
        follow.finish()
        assert (follow._open, follow._open_bytes) == ([], 0)

    def test_a_reply_that_was_ended_early_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replay, "OPEN_BYTES", 0)
        assert relations(line(0, "hi", lasts=100), line(5, *HELLO, "more"))[1] == "continue"


class TestOutcome:
    @pytest.mark.parametrize(
        "changes",
        [
            {"response_status": 500},
            {"response_status": 429, "response_body": {"error": {"message": "slow down"}}},
            {"response_status": 499, "response_body": None},
            {"response_client_aborted": True},
            {"response_body": None},
            {"response_body": {"error": {}}},
            {"response_body": "no stream at all"},
            {"response_body": chunks("Hel")[0].decode()},
            {"response_body": [1]},
            {"response_error": "client_closed"},
            {"response_error": "upstream_aborted"},
            {"response": None},
        ],
        ids=lambda changes: json.dumps(changes)[:50],
    )
    def test_a_failed_exchange_may_be_repeated(self, changes: dict[str, Any]) -> None:
        failed = line(0, "hi")
        failed.update({k: v for k, v in changes.items() if k == "response"})
        for name, value in changes.items():
            if name != "response":
                failed["response"][name.removeprefix("response_")] = value
        one, other = tags(failed, line(5, "hi"))
        assert (one.session_id, one.relation, other.relation) == (
            other.session_id,
            "first",
            "retry",
        )

    @pytest.mark.parametrize("events", [chunks("Hel", "lo!"), chunks("Hello!", done=False)])
    def test_a_stream(self, events: list[bytes]) -> None:
        streamed = line(0, "hi", response_body=b"".join(events).decode())
        assert relations(streamed, line(5, *HELLO, "more"))[1] == "continue"

    def test_a_stream_of_anthropics(self) -> None:
        body = b"".join(message_events("Hel", "lo!")).decode()
        lines = [line(0, "hi", response_body=body), line(5, *HELLO, "more")]
        for each in lines:
            each["request"]["path"] = "/v1/messages"
        assert relations(*lines) == ["first", "continue"]

    def test_a_broken_stream_is_known_as_far_as_it_came(self) -> None:
        broken = line(
            0, "hi", response_body=chunks("Hel")[0].decode(), response_client_aborted=True
        )
        one, other = tags(broken, line(5, "hi", assistant("Hel"), "go on"))
        assert (other.session_id, other.relation) == (one.session_id, "continue")


class TestRequests:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/v1/embeddings", {"input": "x"}),
            ("GET", "/v1/models", None),
            ("POST", "/v1/messages/count_tokens", {"messages": [user("hi")]}),
            ("POST", CHAT, None),
            ("POST", CHAT, "text"),
            ("POST", CHAT, {"messages": []}),
            ("POST", CHAT, {"messages": [{"role": "robot"}]}),
        ],
    )
    def test_what_has_no_session(self, method: str, path: str, body: Any) -> None:
        odd = line(0, "hi", request_method=method, request_path=path, request_body=body)
        assert verdicts(odd) == [LoggedVerdict("r0", None)]

    @pytest.mark.parametrize(
        "headers",
        [
            {"baggage": "a;b=c"},
            {"x-stainless-retry-count": "9" * 5000},
            {"x-session-id": []},
        ],
        ids=lambda headers: str(next(iter(headers))),
    )
    def test_strange_headers_do_not_end_the_replay(self, headers: dict[str, Any]) -> None:
        assert relations(line(0, "hi", request_headers=headers), line(1, "a")) == ["first"] * 2

    def test_a_token_count_is_shown_with_its_session_and_changes_nothing(self) -> None:
        count: dict[str, Any] = {
            "request_path": "/v1/messages/count_tokens",
            "response_body": {"input_tokens": 3},
        }
        found = verdicts(
            line(0, "hi", **count),
            line(1, "hi"),
            line(5, *HELLO, "more", **count),
            line(6, *HELLO, "more"),
        )
        assert [verdict.tag and verdict.tag.relation for verdict in found] == [
            None, "first", "continue", "continue"
        ]  # fmt: skip
        assert len({verdict.tag.session_id for verdict in found if verdict.tag}) == 1

    def test_a_path_that_is_no_url_does_not_end_the_replay(self) -> None:
        odd = line(0, "hi", request_path=f"//[x{CHAT}?key=1", request_headers={})
        assert relations(odd, line(1, "a")) == ["first", "first"]

    def test_of_repeated_headers_the_first_counts(self) -> None:
        headers = {"X-Session-Id": ["1", "2"], "Authorization": "Bearer key"}
        assert tags(line(0, "hi", request_headers=headers))[0].external_id == "1"
        headers = {"X-Session-Id": "1", "x-session-id": "2", "Authorization": "Bearer key"}
        assert tags(line(0, "hi", request_headers=headers))[0].external_id == "1"

    def test_only_what_is_needed(self) -> None:
        request = {"path": CHAT, "body": {"messages": [user("hi")]}}
        found = verdicts({"timestamp": START.isoformat(), "request": request, "response": None})
        assert found[0].request_id == ""
        assert found[0].tag is not None

    def test_the_address_breaks_ties(self) -> None:
        lines = [
            line(at, *said, client={"ip": ip})
            for at, said, ip in (
                (0, ["hi"], "192.0.2.1"),
                (2, ["hi"], "192.0.2.2"),
                (5, [*HELLO, "a"], "192.0.2.2"),
                (6, [*HELLO, "b"], "192.0.2.1"),
            )
        ]
        sessions = [tag.session_id for tag in tags(*lines)]
        assert sessions[2:] == [sessions[1], sessions[0]]


class TestTraces:
    """Traces are logs too: credentials masked, streams put together."""

    def trace(self, at: float, *messages: Any, scope: str, **more: Any) -> Line:
        headers = {"authorization": "***", "user-agent": "tests/1"}
        made = line(at, *messages, request_headers=headers, **more)
        made["client"] = {"ip": "192.0.2.1", "user_agent": "tests/1", "scope": scope}
        made["response"] |= {"streamed": False, "usage": None, "cost_usd": None, "error": None}
        return made | {"session_id": "sess_x", "provider": "openai", "confidence": 1.0}

    def test_a_conversation(self) -> None:
        one, other = tags(
            self.trace(0, "hi", scope="a" * 16), self.trace(5, *HELLO, "more", scope="a" * 16)
        )
        assert (other.session_id, other.relation) == (one.session_id, "continue")

    def test_tenants_whose_keys_are_masked_are_still_apart(self) -> None:
        one, other = tags(
            self.trace(0, "hi", scope="a" * 16), self.trace(5, *HELLO, "more", scope="b" * 16)
        )
        assert other.session_id != one.session_id

    def test_masked_credentials_in_headers_of_the_users_own(self) -> None:
        settings = DetectionSettings(scope=ScopeSettings(headers=("x-tenant",)))
        lines = [
            self.trace(at, *messages, scope=scope * 16)
            for at, scope, messages in (
                (0, "a", ["hi"]), (5, "b", [*HELLO, "more"]), (9, "a", [*HELLO, "more"])
            )
        ]  # fmt: skip
        for each in lines:
            each["request"]["headers"]["x-tenant"] = "***"
        follow = Tracker(settings, b"a secret for tests only", Telemetry())
        a, b, again = tags(*lines, follow=follow)
        assert a.session_id == again.session_id != b.session_id

    def test_a_stream_that_broke_may_be_repeated(self) -> None:
        broken = self.trace(0, "hi", scope="a" * 16)
        broken["response"] |= {"streamed": True, "error": "upstream_aborted"}
        one, other = tags(broken, self.trace(5, "hi", scope="a" * 16))
        assert (other.session_id, other.relation) == (one.session_id, "retry")

    def test_without_headers_and_bodies(self) -> None:
        bare = self.trace(0, "hi", scope="a" * 16)
        bare["request"] |= {"headers": None, "body": None}
        bare["response"] |= {"headers": None, "body": None}
        assert verdicts(bare) == [LoggedVerdict("r0", None)]
