from __future__ import annotations

import pytest
from aiohttp.http import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gateway_sessions.web.admission import objection


def ask(
    *headers: tuple[str, str], path: str = "/v1/x", version: HttpVersion = HttpVersion11
) -> int | None:
    """Return the status of a refusal."""
    found = objection(
        make_mocked_request("POST", path, headers=CIMultiDict(headers), version=version)
    )
    return None if found is None else found[0]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Content-Length", "5"), ("Host", "x")),
        (("Transfer-Encoding", "chunked"),),
        (("Transfer-Encoding", "Chunked "),),
        (("Connection", "keep-alive, x-mine"),),
        (("session_id", "abc"), ("langfuse_session_id", "x"), ("conversation_id", "y")),
    ],
)
def test_ordinary_requests_pass(headers: tuple[tuple[str, str], ...]) -> None:
    assert ask(*headers) is None


@pytest.mark.parametrize("path", ["http://x/y", "x:443", "*", "#a", "/a#b"])
def test_a_target_that_is_no_path_is_refused(path: str) -> None:
    assert ask(path=path) == 400


@pytest.mark.parametrize("version", [HttpVersion(0, 9), HttpVersion(1, 2), HttpVersion(2, 0)])
def test_other_versions_are_refused(version: HttpVersion) -> None:
    assert ask(version=version) == 505


@pytest.mark.parametrize(
    "value", ["gzip, chunked", "identity", "chunked, chunked", "chunked;a=b", "\x0bchunked", ""]
)
def test_other_transfer_codings_are_refused(value: str) -> None:
    assert ask(("Transfer-Encoding", value)) == 501


def test_a_transfer_coding_twice_is_refused() -> None:
    assert ask(("Transfer-Encoding", "chunked"), ("transfer-encoding", "chunked")) == 501


def test_a_transfer_coding_in_http_1_0_is_refused() -> None:
    assert ask(("Transfer-Encoding", "chunked"), version=HttpVersion10) == 400


def test_both_framings_are_refused() -> None:
    assert ask(("Transfer-Encoding", "chunked"), ("Content-Length", "1")) == 400


@pytest.mark.parametrize(
    "name",
    ["Content_Length", "transfer_encoding", "CONTENT_TYPE", "x_api_key", "X_Api-Key", "Expect_"],
)
def test_underscores_for_hyphens_are_refused_where_it_matters(name: str) -> None:
    assert ask((name, "1")) == (None if name == "Expect_" else 400)


@pytest.mark.parametrize(
    "value", ["authorization", "keep-alive, X-Api-Key", "Content-Length", "close,cookie", "HOST"]
)
def test_connection_may_not_take_end_to_end_headers_away(value: str) -> None:
    assert ask(("Connection", value)) == 400
