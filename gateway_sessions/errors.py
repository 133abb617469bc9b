"""Every error that this package raises on purpose.

One base class, and below it one class per *whose fault it is*, because that is what the
caller has to know: a configuration the user can mend, bytes a client or provider sent that
we can not read, or a resource of this machine that is not there.  None of them ever crosses
the proxied traffic: unreadable bytes are forwarded unread, failing recorders are counted.
"""

from __future__ import annotations


class GatewaySessionsError(Exception):
    """Base of all errors of this package; its text is one sentence that a user can act on."""


class ConfigError(GatewaySessionsError):
    """The configuration is wrong; the text names place and cure.  Commands exit with 2."""


class UnreadableBody(GatewaySessionsError):
    """A request or reply body is not what its dialect says; it is forwarded without a session."""


class UnreadableLog(GatewaySessionsError):
    """A line of an exchange log can not be read; the text names file and line."""


class WrongQuery(GatewaySessionsError):
    """A search asks for what can not be understood; the text names the parameter and the cure."""


class StartError(GatewaySessionsError):
    """Something this machine should provide is missing (port in use, folder not writable)."""
