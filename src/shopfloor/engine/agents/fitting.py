"""Keeping a run inside its model's window, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart
from pydantic_ai.models import ModelRequestContext, ModelRequestParameters

from shopfloor.engine.agents import compaction
from shopfloor.engine.agents.codec import decode_reply, encode_reply
from shopfloor.engine.agents.history import Track, tokens_of
from shopfloor.engine.agents.journal import Journal, Json
from shopfloor.engine.agents.task import AgentLimits
from shopfloor.engine.providers.port import ContextTooLong

FORCED_IN_A_ROW = 3  # the provider still says too long: there is nothing left to leave out


@dataclass
class Fitting:
    """Compacts when due; remembers what it did."""

    limits: AgentLimits
    journal: Journal
    compactions: int = 0
    _forced: int = 0  # times in a row that the provider said too long
    _saved: int = 0  # tokens taken away since the provider last counted

    def answered(self) -> None:
        """The model replied: what it counted is what there is."""
        self._forced = self._saved = 0

    def force(self, detail: str) -> None:
        """The provider refused the conversation as too long. Raises: ContextTooLong if shortening didn't help."""
        self._forced += 1
        if self._forced >= FORCED_IN_A_ROW:
            raise ContextTooLong(f"{detail} (it was shortened {self._forced - 1} times; a larger window is needed)")

    async def fit(
        self, messages: list[ModelMessage], turn: int, track: Track, request: ModelRequestContext
    ) -> list[ModelMessage]:
        """The messages, shortened if they fill too much of the window."""
        forced = self._forced > 0
        window = self.limits.context_tokens
        if not forced and self._size(messages) < compaction.CLEAR_AT * window:
            return messages
        if self.compactions >= self.limits.compactions:
            return messages  # the provider decides; ContextTooLong ends it
        self.compactions += 1
        keep = compaction.KEPT_REPLIES_FORCED if forced else compaction.replies_to_keep(messages, window)
        shorter = self._note_saved(messages, compaction.clear_results(messages, keep_replies=keep))
        how = "cleared"
        if forced or self._size(shorter) >= compaction.SUMMARISE_AT * window:
            shorter = self._note_saved(shorter, await self._summarised(shorter, keep, request))
            if self._size(shorter) >= compaction.CLEAR_AT * window:  # the newest results alone are too long
                fewest = compaction.KEPT_REPLIES_FORCED
                shorter = self._note_saved(shorter, compaction.clear_results(shorter, keep_replies=fewest))
            how = "summarised"
        track.mark(f"{how} {len(shorter)}")
        await self.journal.note("agent.compacted", {"turn": turn, "how": how, "messages": len(shorter)})
        return shorter

    async def _summarised(
        self, messages: list[ModelMessage], keep: int, request: ModelRequestContext
    ) -> list[ModelMessage]:
        """The past as notes, made by one journaled model call of its own."""
        first = messages[0]
        past, tail = compaction.split(messages, keep_replies=keep)
        if not past or not isinstance(first, ModelRequest):
            return messages
        log = compaction.render([first, *past], self.limits.context_tokens // 2)

        async def call() -> Json:
            prompt = [SystemPromptPart(compaction.SUMMARY_INSTRUCTIONS), UserPromptPart(f"<log>\n{log}\n</log>")]
            asked: list[ModelMessage] = [ModelRequest(parts=prompt)]
            parameters = ModelRequestParameters()
            try:
                reply = await request.model.request(asked, request.model_settings, parameters)
            except ContextTooLong:
                return {"plain": True}
            return encode_reply(reply)

        scope = self.journal.child(f"compaction-{self.compactions}")
        record = await scope.model_reply(1, {"messages": len(past), "purpose": "summary"}, call)
        summary = "" if "plain" in record else _words(decode_reply(record))
        return compaction.with_summary(first, summary or compaction.plain_summary(past), tail)

    def _size(self, messages: list[ModelMessage]) -> int:
        return max(0, tokens_of(messages) - self._saved)

    def _note_saved(self, before: list[ModelMessage], after: list[ModelMessage]) -> list[ModelMessage]:
        self._saved += compaction.saved_tokens(before, after)
        return after


def _words(reply: ModelResponse) -> str:
    return "\n".join(part.content for part in reply.parts if isinstance(part, TextPart)).strip()
