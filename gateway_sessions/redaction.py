"""Masking credentials in headers, query strings and URLs before anything is written down.

Recognition goes by name first (``authorization``, ``?api_key=``) and by shape second
(``Bearer …``, ``sk-…``, a JWT), since people put keys into headers of their own.  It errs on
the side of masking: a value lost from a trace is a nuisance, a key found in one is an incident.
Bodies are what the user wants recorded, and stay; only of errors, which may quote the key that
they refuse, keys are masked.

Everything takes time linear in its input.  No pattern has nested or adjacent repetitions, and
each repetition is tied to a literal that it can not itself contain or that it consumes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

from gateway_sessions.exchange import Headers

MASK = "***"
"""What stands in place of a credential."""

_SECRET_HEADER_ENDINGS = (
    "authorization",
    "cookie",
    "cookie2",
    "api-key",
    "api_key",
    "apikey",
    "access-key",
    "auth-key",
    "private-key",
    "secret-key",
    "subscription-key",
    "token",
    "jwt",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
    "signature",
    "-auth",
)
"""Not plainly ``key``: ``idempotency-key`` and cache keys name things and open nothing."""

_SECRET_PARAMETER_ENDINGS = (
    *_SECRET_HEADER_ENDINGS,
    "key",
    "sig",
    "auth",
    "pwd",
    "pass",
    "passphrase",
)

_KEY = (
    r"(?<![A-Za-z0-9])(?:"
    r"(?:c?sk|rk|pk|xai|pplx|nvapi|glpat|tvly|xox[a-z])-"
    r"|(?:sk|rk|pk|gsk|hf|r8|npm|dop_v1|whsec|lsv2|github_pat|gh[oprsu])_"
    r"|ya29\.|SG\.|AIza|AKIA|ASIA|eyJ"
    r")[A-Za-z0-9_.-]{8,}"
)
"""Providers' own prefixes: OpenAI and its likes, Slack, GitHub, Google, AWS, JWTs, …"""
_SCHEME = r"(?<![A-Za-z0-9])(?i:bearer|basic|token|apikey|digest|negotiate)[ \t]+[^\s,;]+"
_USERINFO = r"(?<=://)[^/?#@\s]*@"
_ASSIGNMENT = (
    r"(?i:key|token|secret|password|passwd|pwd|sig|signature|credentials?|auth|authorization)"
    r"=[^&;,\s\"']+"
)

_SHAPES = re.compile(f"(?P<key>{_KEY})|(?P<scheme>{_SCHEME})|(?P<user>{_USERINFO})|{_ASSIGNMENT}")

_ID = re.compile(r"(?:req|sess)_[0-9a-hjkmnp-tv-z]{20}|[0-9a-f-]+")
"""Our own ids and UUIDs, in which no shape can be.  Nearly every response has a new one of them,
for which the search would be most of what its headers cost."""

_QUOTED = re.compile(
    rb"%b|(?i:bearer)[ \t]+[A-Za-z0-9_.~+/=-]{16,}|(?<=://)[^/?#@\s\"\\]*@" % _KEY.encode()
)
"""What an error may quote of a request, and nothing that it may say itself, such as "Basic plan"
or "token limit".  No match has a character in it that ends a string of JSON."""

_SHORTEST = 8
"""Characters below which a header value is taken as harmless by its shape."""

_clean: set[int] = set()
"""Hashes of texts in which no shape was found: clients send the same headers again and again,
and the search costs ten times the rest.  Python keys its hash per process, so that nobody can
aim for a collision, and a hash gives nothing away."""
_CLEAN_LIMIT = 4096
"""Hashes kept, about 300 kB; beyond it we start afresh."""


def masked_headers(headers: Headers) -> Headers:
    """Return the headers with every credential in them replaced by `MASK`.

    Names, order and repeats stay.
    """
    return tuple(
        [
            pair
            # Most are neither; they stay the values that they are, and nothing is made of them.
            if not _is_secret_header(pair[0])
            and (len(pair[1]) < _SHORTEST or hash(pair[1]) in _clean)
            else _masked_header(pair)
            for pair in headers
        ]
    )


def _masked_header(pair: tuple[str, str]) -> tuple[str, str]:
    name, value = pair
    return name, MASK if _is_secret_header(name) else masked_text(value)


def masked_text(text: str) -> str:
    """Return a text with everything that has the shape of a credential replaced by `MASK`."""
    digest = hash(text)
    if digest in _clean or _ID.fullmatch(text) is not None:
        return text
    if _SHAPES.search(text) is not None:
        return _SHAPES.sub(_masked_match, text)
    if len(_clean) >= _CLEAN_LIMIT:
        _clean.clear()
    _clean.add(digest)
    return text


def masked_error(body: bytes) -> bytes:
    """Return the body of an error with the keys in it masked; JSON stays JSON.

    Some servers quote the key that they refuse.
    """
    return _QUOTED.sub(MASK.encode(), body)


def masked_path(path: str) -> str:
    """Return a request path, query string included, with the credentials in it masked.

    A parameter is masked for its name (``?key=…``, percent-encoded or not) or for its value.
    """
    if "?" not in path:
        return masked_text(path)
    stem, _, query = path.partition("?")
    query, hash_sign, fragment = query.partition("#")
    pairs = (_masked_parameter(pair) for pair in query.split("&"))
    return f"{masked_text(stem)}?{'&'.join(pairs)}{hash_sign}{masked_text(fragment)}"


def masked_url(url: str) -> str:
    """Return a URL with user, password and the credentials of path and query masked."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return masked_path(url)
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    host = rest[:end]
    if "@" in host:
        host = f"{MASK}@{host.rpartition('@')[2]}"
    return f"{scheme}://{host}{masked_path(rest[end:])}"


@lru_cache(maxsize=512)
def _is_secret_header(name: str) -> bool:
    """Tell by its name; only names are kept in the cache, never a value."""
    return name.lower().endswith(_SECRET_HEADER_ENDINGS)


def _masked_parameter(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals or not value:
        return masked_text(pair)
    plain = unquote_plus(name) if "%" in name else name
    if plain.rstrip("]").lower().endswith(_SECRET_PARAMETER_ENDINGS):
        return f"{name}={MASK}"
    decoded = unquote_plus(value)
    return f"{name}={MASK}" if masked_text(decoded) != decoded else pair


def _masked_match(match: re.Match[str]) -> str:
    found = match.group()
    if match.lastgroup == "scheme":
        return f"{found.split(maxsplit=1)[0]} {MASK}"
    if match.lastgroup == "user":
        return f"{MASK}@"
    if match.lastgroup == "key":
        return MASK
    return f"{found.partition('=')[0]}={MASK}"
