"""What a foreign log does not tell, counted, for one sentence each at the end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Notes:
    """Counts of what limits the verdicts on a log."""

    exchanges: int = 0
    """Exchanges with LLMs, those below included."""
    without_prompt: int = 0
    """Those that hold no prompt, though there was one."""
    without_reply: int = 0
    """Those that succeeded and hold no reply."""
    cut: int = 0
    """Those with texts that the program which wrote the log has cut."""
    others: int = 0
    """Entries that are no exchange with an LLM, and were left out."""

    def sentences(self) -> list[str]:
        """Return one sentence for each thing that the user should know."""
        told = []
        every = f"{self.exchanges:,}"
        if self.without_prompt:
            told.append(
                f"{self.without_prompt:,} of {every} exchanges hold no prompt, and get no session: "
                "LiteLLM keeps prompts only with general_settings.store_prompts_in_spend_logs: "
                "true, and without litellm_settings.turn_off_message_logging."
            )
        if self.cut:
            told.append(
                f"{self.cut:,} of {every} exchanges hold texts that LiteLLM has cut "
                "(litellm_truncated), and conversations that differ only in what was cut look "
                "alike: MAX_STRING_LENGTH_PROMPT_IN_DB sets how long texts may be."
            )
        if self.without_reply:
            told.append(
                f"{self.without_reply:,} of {every} exchanges hold no reply, and what goes on "
                "from them may be taken for a new session."
            )
        if self.others:
            told.append(
                f"{self.others:,} of {self.others + self.exchanges:,} entries are no requests to "
                "an LLM, and were left out."
            )
        return told
