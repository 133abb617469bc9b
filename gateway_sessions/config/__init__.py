"""The configuration: a typed, frozen value made from a YAML file, the environment and options.

`load` is the way in.  `Config()` is what holds when nothing is configured.  Nothing here
touches the network or imports the parts that are configured, so that a command can check its
configuration before it loads anything else.
"""

from __future__ import annotations

from gateway_sessions.config.detection import detection_settings
from gateway_sessions.config.keys import Section
from gateway_sessions.config.loader import Override, Source, load
from gateway_sessions.config.notices import notices
from gateway_sessions.config.schema import (
    Admin,
    Config,
    InterceptorEntry,
    Loaded,
    Logging,
    Match,
    Server,
    Session,
    Upstream,
)
from gateway_sessions.config.show import as_json, as_yaml, effective, example

__all__ = [
    "Admin",
    "Config",
    "InterceptorEntry",
    "Loaded",
    "Logging",
    "Match",
    "Override",
    "Section",
    "Server",
    "Session",
    "Source",
    "Upstream",
    "as_json",
    "as_yaml",
    "detection_settings",
    "effective",
    "example",
    "load",
    "notices",
]
