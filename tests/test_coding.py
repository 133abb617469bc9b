from __future__ import annotations

import gzip
import tracemalloc
import zlib
from contextlib import suppress

import brotli  # type: ignore[import-untyped]  # ships no annotations
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_sessions import coding
from gateway_sessions.coding import MAX_CODINGS, BodyTooLarge, decode, decoder, zstd
from gateway_sessions.errors import UnreadableBody

TEXT = b'{"messages": [{"role": "user", "content": "hi"}]}' * 50

ENCODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
    "gzip, br": brotli.compress(gzip.compress(TEXT)),
    "GZIP ,identity, Deflate": zlib.compress(gzip.compress(TEXT)),
}
BARE_DEFLATE = zlib.compress(TEXT, wbits=-zlib.MAX_WBITS)

every = pytest.mark.parametrize(
    ("name", "data"), [*ENCODED.items(), ("deflate", BARE_DEFLATE)], ids=[*ENCODED, "bare deflate"]
)


@every
def test_a_body_is_decoded_whole(name: str, data: bytes) -> None:
    assert decode(data, name, len(TEXT)) == TEXT


@every
def test_and_byte_by_byte(name: str, data: bytes) -> None:
    found = decoder(name, len(TEXT))
    assert found is not None
    assert b"".join(found.feed(data[at : at + 1]) for at in range(len(data))) == TEXT
    found.finish()


@every
def test_a_body_longer_than_the_limit_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(BodyTooLarge):
        decode(data, name, len(TEXT) - 1)


@every
def test_a_body_that_breaks_off_is_unreadable(name: str, data: bytes) -> None:
    with pytest.raises(UnreadableBody):
        decode(data[:-4], name, len(TEXT))


@every
@pytest.mark.parametrize("bad", [TEXT, b"\x00" * 40, b"\xff" * 40, b"{}"])
def test_a_body_in_another_coding_is_unreadable(name: str, data: bytes, bad: bytes) -> None:
    with pytest.raises(UnreadableBody):
        decode(bad, name, len(TEXT))


@pytest.mark.parametrize("name", ["deflate", "br"])
def test_bytes_after_the_end_are_unreadable(name: str) -> None:
    with pytest.raises(UnreadableBody):
        decode(ENCODED[name] + b"more", name, len(TEXT))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_streams_one_after_the_other_are_one_body(name: str) -> None:
    assert decode(ENCODED[name] * 2, name, 2 * len(TEXT)) == TEXT * 2
    with pytest.raises(BodyTooLarge):
        decode(ENCODED[name] * 2, name, len(TEXT))


@pytest.mark.parametrize("name", ["", "identity", " Identity , identity "])
def test_a_plain_body_needs_no_decoder(name: str) -> None:
    assert decoder(name, 1) is None
    assert decode(TEXT, name, 1) == TEXT


@pytest.mark.parametrize("name", ["compress", "gzip, aws-chunked", "gzip;q=1", "x" * 1000])
def test_an_unknown_coding_is_unreadable(name: str) -> None:
    with pytest.raises(UnreadableBody) as error:
        decoder(name, 1)
    assert len(str(error.value)) < 100


def test_codings_may_not_be_stacked_without_end() -> None:
    with pytest.raises(UnreadableBody):
        decoder(", ".join(["gzip"] * (MAX_CODINGS + 1)), 1)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_a_bomb_is_refused_in_little_memory(name: str) -> None:
    size, limit = 50_000_000, 100_000
    zeros = b"\0" * size
    bomb = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda data: brotli.compress(data, quality=2),
        "zstd": zstd.compress,
        "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    }[name](zeros)
    del zeros
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decode(bomb, name, limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 10


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_whatever_comes_the_only_error_is_ours(data: bytes, name: str) -> None:
    with suppress(UnreadableBody):
        assert len(decode(data, name, 1000)) <= 1000


def test_without_zstd_its_bodies_are_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coding, "zstd", None)
    with pytest.raises(UnreadableBody, match="zstd"):
        decoder("zstd", 1)
