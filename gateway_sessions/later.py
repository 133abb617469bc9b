"""Work that nobody has to wait for, done right after what is to leave has left.

An event loop writes to its sockets when the step that asked for it is over.  Looking at what was
just passed on, a reply above all, would hold it back if it came in the same step, so it comes in
the loop's next turn.  What several exchanges have to do is done in a row then, which costs a tenth
less than to turn from one kind of work to another with each of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Later:
    """Calls that are put off, made in their order; of the event loop's thread.

    There are never more than one turn of the loop brings.  Whoever depends on what they do calls
    `catch_up` first.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def add(self, call: Callable[..., None], *arguments: Any) -> None:
        """Put a call off; needs a running event loop."""
        if not self._calls:
            asyncio.get_running_loop().call_soon(self.catch_up)
        self._calls.append((call, arguments))

    def catch_up(self) -> None:
        """Make the calls that wait.  One that fails is logged, and takes no other with it."""
        calls = self._calls
        while calls:
            call, arguments = calls.popleft()
            try:
                call(*arguments)
            except Exception:
                logger.exception("what was put off until a message had left failed")
