from __future__ import annotations

import pytest

from gateway_sessions.web.headers import (
    ENDS,
    LONGEST_NAME,
    NAMES_KEPT,
    PASSES,
    Kinds,
    TrustedProxies,
    connection_names,
    lines,
    request_fields,
    select_tags,
    text,
    texts,
    wire,
)

TAGS = (
    ("X-Gateway-Session-Id", "sess_1"),
    ("X-Gateway-Session-Relation", "first"),
    ("X-Gateway-Request-Id", "req_1"),
    ("X-Rate-Limit", "5"),
)


def fields(*raw: tuple[bytes, bytes], **options: frozenset[bytes]) -> bytes:
    found = request_fields(raw, b"up:80", **options)  # type: ignore[arg-type]
    return b"".join([line + b"\r\n" for line in found])


class TestText:
    def test_utf_8_is_preferred(self) -> None:
        assert text("café".encode()) == "café"

    def test_anything_else_is_latin_1_and_so_never_fails(self) -> None:
        assert text(b"caf\xe9") == "café"
        assert texts([(b"A", b"\xff"), (b"A", b"ok")]) == (("A", "ÿ"), ("A", "ok"))
        assert texts([(b"\xff", b"ok")]) == (("ÿ", "ok"),)

    def test_a_name_that_comes_again_is_the_same_object(self) -> None:
        ((first, _),), ((second, _),) = [texts([(b"X-Kept-Once", b"1")]) for _ in range(2)]
        assert first is second

    def test_unless_it_is_longer_than_names_are(self) -> None:
        name = b"x" * (LONGEST_NAME + 1)
        ((first, _),), ((second, _),) = [texts([(name, b"1")]) for _ in range(2)]
        assert first == second == name.decode()
        assert first is not second


class TestWire:
    def test_headers_of_ours_become_bytes(self) -> None:
        assert wire((("A", "é"),)) == [(b"A", "é".encode())]

    @pytest.mark.parametrize("bad", ["a\r\nSet-Cookie: x", "a\nb", "a\0", "\x7f", "\u2028"])
    def test_what_could_start_another_header_is_left_out(self, bad: str) -> None:
        assert wire((("A", bad), (bad, "a"), ("B", "b"))) == [(b"B", b"b")]
        assert lines((("A", bad), (bad, "a"), ("B", "b"))) == b"B: b\r\n"

    def test_as_lines_they_are_the_same(self) -> None:
        assert lines(()) == b""
        assert lines((("A", "1"), ("B", "2"))) == b"A: 1\r\nB: 2\r\n"
        assert lines((("A", "é"),)) == "A: é\r\n".encode()


class TestKinds:
    def test_a_name_counts_in_any_letters(self) -> None:
        kinds = Kinds(lambda low: ENDS if low == b"te" else PASSES)
        assert [kinds[name] for name in (b"TE", b"te", b"X-A", b"TE")] == [ENDS, ENDS, PASSES, ENDS]

    def test_not_every_name_is_remembered(self) -> None:
        kinds = Kinds(lambda low: PASSES)
        for number in range(NAMES_KEPT + 10):
            assert kinds[b"X-%d" % number] == PASSES
        assert len(kinds) == NAMES_KEPT

    def test_nor_is_a_long_one(self) -> None:
        kinds = Kinds(lambda low: PASSES)
        assert kinds[b"x" * (LONGEST_NAME + 1)] == kinds[b"x"] == PASSES
        assert list(kinds) == [b"x"]


class TestRequestFields:
    def test_order_case_and_repeats_are_kept(self) -> None:
        raw = ((b"b", b"1"), (b"A", b"2"), (b"B", b"3"), (b"Host", b"me"))
        assert fields(*raw) == b"b: 1\r\nA: 2\r\nB: 3\r\nHost: up:80\r\n"

    def test_a_missing_host_is_put_first(self) -> None:
        assert fields((b"A", b"1")) == b"Host: up:80\r\nA: 1\r\n"

    @pytest.mark.parametrize(
        "name",
        [
            b"Connection",
            b"Keep-Alive",
            b"Proxy-Authorization",
            b"Proxy-Connection",
            b"TE",
            b"Trailer",
            b"Transfer-Encoding",
            b"Upgrade",
            b"Expect",
            b"HTTP2-Settings",
            b"X-Gateway-Session-Id",
            b"X-Gateway-Parent-Session-Id",
        ],
    )
    def test_headers_that_end_here(self, name: bytes) -> None:
        assert fields((b"Host", b"x"), (name, b"1")) == b"Host: up:80\r\n"

    def test_so_do_those_that_connection_names(self) -> None:
        named = frozenset((b"x-mine",))
        assert fields((b"Host", b"x"), (b"X-Mine", b"1"), named=named) == b"Host: up:80\r\n"

    def test_kept_names_pass_all_the_same(self) -> None:
        kept = frozenset((b"x-gateway-session-id", b"upgrade"))
        raw = ((b"Host", b"x"), (b"Upgrade", b"w"), (b"X-Gateway-Session-Id", b"mine"))
        passed = b"Host: up:80\r\nUpgrade: w\r\nX-Gateway-Session-Id: mine\r\n"
        assert fields(*raw, named=kept, kept=kept) == passed

    def test_the_length_of_a_changed_body_is_changed_in_place(self) -> None:
        raw = ((b"Host", b"x"), (b"content-length", b"5"), (b"A", b"1"))
        found = request_fields(raw, b"up", length=b"9")
        assert found == [b"Host: up", b"content-length: 9", b"A: 1"]


def test_connection_names_come_from_all_values() -> None:
    assert connection_names(["Keep-Alive, X-A ,", "x-b,,"]) == {b"keep-alive", b"x-a", b"x-b"}


class TestSelectTags:
    def test_all(self) -> None:
        assert select_tags(TAGS, "all") == TAGS

    def test_id_keeps_the_session_and_what_is_not_ours(self) -> None:
        assert select_tags(TAGS, "id") == (TAGS[0], TAGS[3])

    def test_none_keeps_what_is_not_ours(self) -> None:
        assert select_tags(TAGS, "none") == (TAGS[3],)


class TestTrustedProxies:
    @pytest.mark.parametrize(
        ("trusted", "peer", "forwarded", "client"),
        [
            ([], "10.0.0.1", ["1.2.3.4"], "10.0.0.1"),
            (["10.0.0.0/8"], "11.0.0.1", ["1.2.3.4"], "11.0.0.1"),
            (["10.0.0.0/8"], "10.0.0.1", [], "10.0.0.1"),
            (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
            (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (["10.0.0.0/8"], "10.0.0.1", ["6.6.6.6", "1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            (["10.0.0.0/8"], "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4, junk"], "10.0.0.1"),
            (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4, junk, 10.0.0.2"], "10.0.0.2"),
            (["10.0.0.0/8"], "10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
            (["::1"], "::1", ["[2001:db8::1]:443"], "2001:db8::1"),
            (["127.0.0.1"], "::ffff:127.0.0.1", ["1.2.3.4"], "1.2.3.4"),
            (["10.0.0.0/8"], None, ["1.2.3.4"], ""),
            (["10.0.0.0/8"], "/run/socket", ["1.2.3.4"], "/run/socket"),
        ],
    )
    def test_only_what_a_trusted_proxy_added_counts(
        self, trusted: list[str], peer: str | None, forwarded: list[str], client: str
    ) -> None:
        assert TrustedProxies(trusted).client(peer, forwarded) == client
