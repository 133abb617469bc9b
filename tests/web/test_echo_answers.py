from __future__ import annotations

from gateway_sessions.web.echo_answers import Question, compact, in_pieces, new_id, sse_event

TEXT = Question("m", {}, 400, ("Grüße, all of you out there!", "Else"), None)
CALL = Question("m", {}, 0, ("unused",), ("f", {"city": "a b c d e f"}))


def test_tokens_are_estimated_from_what_is_said() -> None:
    assert TEXT.input_tokens == 101
    assert TEXT.output_tokens == len("".join(TEXT.texts)) // 4 + 1
    assert CALL.output_tokens == len('{"city":"a b c d e f"}') // 4 + 1


def test_ids_are_never_the_same() -> None:
    ids = {new_id("x_", 20) for _ in range(50)}
    assert len(ids) == 50
    assert {(len(found), found[:2]) for found in ids} == {(22, "x_")}


def test_pieces_are_words_and_parts_of_long_ones() -> None:
    assert in_pieces("a bb\n c") == ["a", " bb", "\n c"]
    assert in_pieces("x" * 30 + " ") == ["x" * 12, "x" * 12, "x" * 6, " "]
    assert in_pieces("") == []


def test_events() -> None:
    assert compact({"a": "ü"}) == '{"a":"ü"}'
    assert sse_event({"a": 1}) == b'data: {"a":1}\n\n'
    assert sse_event({"a": 1}, "x") == b'event: x\ndata: {"a":1}\n\n'
