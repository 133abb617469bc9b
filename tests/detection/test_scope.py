from __future__ import annotations

import json
import re

import pytest

from gateway_sessions.detection.scope import (
    Scope,
    Scopes,
    keyed_id,
    stable_user,
)
from gateway_sessions.detection.settings import ScopeSettings

SECRET = b"a secret of the server"
PATH = "/v1/chat/completions"


def scope(
    headers: dict[str, str] | None = None,
    path: str = PATH,
    user: str = "",
    *,
    settings: ScopeSettings | None = None,
    secret: bytes = SECRET,
) -> Scope:
    return Scopes(secret, settings or ScopeSettings()).of(headers or {}, path, user)


class TestMasked:
    """Traces, whose credentials are masked."""

    def test_the_name_of_a_scope_stands_for_its_credential(self) -> None:
        scopes = Scopes(SECRET, ScopeSettings(headers=("x-tenant",)))

        def of(known_as: str, masked: str = "***", user: str = "") -> Scope:
            return scopes.of({"x-tenant": masked}, PATH, user, known_as)

        assert of("a") == of("a", "")
        assert of("a") != of("b")
        assert of("a") != of("a", user="bob")

    def test_it_does_not_count_where_credentials_do_not(self) -> None:
        scopes = Scopes(SECRET, ScopeSettings(credential=False))
        assert scopes.of({}, PATH, "bob", "a") == scopes.of({}, PATH, "bob", "b")

    def test_knowing_the_name_of_a_scope_leads_nowhere(self) -> None:
        real = scope({"authorization": "Bearer secret-1"})
        scopes = Scopes(SECRET, ScopeSettings())
        assert scopes.of({}, PATH, "", real.name) != real


class TestCredential:
    def test_two_keys_are_two_scopes(self) -> None:
        one, other = scope({"x-api-key": "a"}), scope({"x-api-key": "b"})
        assert one.seed != other.seed
        assert one.name != other.name

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer secret-1"},
            {"authorization": "bearer secret-1"},
            {"authorization": "BEARER   secret-1 "},
            {"authorization": "secret-1"},
            {"x-api-key": "secret-1"},
            {"api-key": "secret-1"},
            {"x-goog-api-key": "secret-1"},
        ],
    )
    def test_the_bare_value_counts_whichever_header_carries_it(
        self, headers: dict[str, str]
    ) -> None:
        assert scope(headers) == scope(path=PATH + "?key=secret-1")

    def test_the_first_header_of_the_list_counts(self) -> None:
        names = ["authorization", "x-api-key", "api-key", "x-goog-api-key"]
        for place, name in enumerate(names):
            headers = {later: f"key of {later}" for later in reversed(names[place:])}
            assert scope(headers) == scope({name: f"key of {name}"})
        headers = {"x-goog-api-key": "a"}
        assert scope(headers, PATH + "?key=b") == scope(headers)

    @pytest.mark.parametrize("empty", ["", "Bearer", "Bearer ", "bearer   "])
    def test_an_empty_credential_does_not_hide_the_next(self, empty: str) -> None:
        one = scope({"authorization": empty, "x-api-key": "a"})
        other = scope({"authorization": empty, "x-api-key": "b"})
        assert one != other

    @pytest.mark.parametrize("query", ["?monkey=a", "?key=", "?x=key", "?KEY=a", "?x=1#key=a"])
    def test_what_is_no_key_in_a_query(self, query: str) -> None:
        assert scope(path=PATH + query) == scope()

    def test_keys_in_a_query_are_unescaped(self) -> None:
        assert scope(path=PATH + "?alt=sse&key=a%2Bb") == scope({"x-api-key": "a+b"})

    @pytest.mark.parametrize("path", ["//[x/v1/messages?key=1", "http://[::1/v1/messages?key=1"])
    def test_a_path_that_is_no_url(self, path: str) -> None:
        assert scope(path=path) == scope(path=path)

    def test_headers_of_the_users_own(self) -> None:
        settings = ScopeSettings(headers=("X-Tenant",))
        mine = scope({"x-tenant": "a", "authorization": "Bearer 1"}, settings=settings)
        assert mine == scope({"x-tenant": "a", "authorization": "Bearer 2"}, settings=settings)
        assert mine != scope({"x-tenant": "b", "authorization": "Bearer 1"}, settings=settings)

    def test_it_can_be_left_out(self) -> None:
        settings = ScopeSettings(credential=False)
        one = scope({"x-api-key": "a"}, PATH + "?key=1", "alice", settings=settings)
        assert one == scope({"x-api-key": "b"}, PATH + "?key=2", "alice", settings=settings)
        assert one != scope({"x-api-key": "a"}, PATH + "?key=1", "bob", settings=settings)

    def test_bytes_that_are_no_text(self) -> None:
        assert scope({"x-api-key": "\udcff"}) != scope({"x-api-key": "\udcfe"})


class TestEndUser:
    def test_two_users_of_one_key_are_two_scopes(self) -> None:
        headers = {"x-api-key": "a"}
        assert scope(headers, user="alice") != scope(headers, user="bob")
        assert scope(headers, user="alice") != scope(headers)

    def test_they_can_be_left_out(self) -> None:
        settings = ScopeSettings(end_user=False)
        assert scope(user="alice", settings=settings) == scope(user="bob", settings=settings)

    def test_key_and_user_can_not_run_into_each_other(self) -> None:
        assert scope({"x-api-key": "a\0b"}, user="c") != scope({"x-api-key": "a"}, user="b\0c")
        assert scope({"x-api-key": "ab"}) != scope({"x-api-key": "a"}, user="b")

    @pytest.mark.parametrize(
        ("sent", "name"),
        [
            ("alice", "alice"),
            ("user_1_account_2_session_0af1-22bc-9d", "user_1_account_2"),
            ("user_1_account__session_3b9e8f30-8b1c-4bb0-a9a5-0123456789ab", "user_1_account_"),
            ("my_session_x", "my_session_x"),
            ("a_session_0af1-22bc-9d_b", "a_session_0af1-22bc-9d_b"),
            ("{not json", "{not json"),
            ('{"a": 1}', '{"a": 1}'),
            ("[1]", "[1]"),
            ("", ""),
        ],
    )
    def test_the_session_part_of_a_name_is_left_out(self, sent: str, name: str) -> None:
        assert stable_user(sent) == name

    def test_the_session_member_of_an_object_is_left_out(self) -> None:
        def named(**members: str) -> str:
            return stable_user(json.dumps(members))

        assert named(device="d", account="a", session_id="1") == named(
            session_id="2", account="a", device="d"
        )
        assert named(device="d", session_id="1") != named(device="e", session_id="1")

    def test_nesting_beyond_the_stack(self) -> None:
        deep = '{"session_id": ' + "[" * 100_000
        assert stable_user(deep) == deep


class TestSecret:
    def test_another_secret_gives_other_scopes(self) -> None:
        one, other = scope({"x-api-key": "a"}), scope({"x-api-key": "a"}, secret=b"x" * 32)
        assert one.seed != other.seed
        assert one.name != other.name

    def test_a_scope_shows_nothing_of_the_credential(self) -> None:
        shown = scope({"x-api-key": "a-credential"})
        assert re.fullmatch("[0-9a-f]{16}", shown.name)
        for order in ("little", "big"):
            assert shown.seed.to_bytes(8, order).hex() != shown.name
        assert 0 < shown.seed < 2**64


class TestIds:
    def test_twenty_characters_of_crockfords_alphabet(self) -> None:
        assert re.fullmatch("[0-9a-hjkmnp-tv-z]{20}", keyed_id(SECRET, "a", "b"))

    def test_every_part_counts_and_none_runs_into_the_next(self) -> None:
        parts = [("a", "b"), ("b", "a"), ("ab",), ("ab", ""), ("a\0b",), ("a\x001:b",), ("a",)]
        assert len({keyed_id(SECRET, *each) for each in parts}) == len(parts)
        assert keyed_id(SECRET, "a", "b") == keyed_id(SECRET, "a", "b")
        assert keyed_id(SECRET, "a") != keyed_id(b"x" * 32, "a")

    def test_long_secrets_and_lone_surrogates(self) -> None:
        assert keyed_id(b"x" * 100, "\ud800") != keyed_id(b"x" * 100, "\ud801")
