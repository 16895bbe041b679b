"""Which reply a request gets. Pure: the answer depends on the request alone."""

from __future__ import annotations

from dataclasses import dataclass

from shopfloor.testing.mock_provider.conversation import Conversation, RequestRefused
from shopfloor.testing.mock_provider.scenario import Fault, Reply, Scenario, Scene, When


@dataclass(frozen=True, slots=True)
class Choice:
    """A reply and its place in the scenario."""

    reply: Reply
    place: str  # "main[3]": scene and index


def choose(scenario: Scenario, conversation: Conversation) -> Choice:
    """The reply for this request. Raises: RequestRefused if the scenario has none."""
    scenes = [scene for scene in scenario.all_scenes() if fits(scene.when, conversation)]
    if not scenes:
        raise RequestRefused(f"The mock scenario {scenario.name!r} has no scene for this conversation.")
    return _in_scene(scenes[0], conversation)


def fits(when: When | None, conversation: Conversation) -> bool:
    """Whether everything that `when` names holds."""
    if when is None:
        return True
    return (
        (when.model is None or _model_fits(when.model, conversation.model))
        and when.dialect in (None, conversation.dialect)
        and when.turn in (None, conversation.turn)
        and (when.turn_from is None or conversation.turn >= when.turn_from)
        and _contains(conversation.system, when.system_contains)
        and _contains(conversation.first_user, when.first_message_contains)
        and _contains(conversation.last_text, when.last_message_contains)
        and _contains("\n".join(conversation.tool_results), when.tool_result_contains)
        and (when.has_tool is None or when.has_tool in conversation.tools)
    )


def fault_for(reply: Reply, met: int) -> Fault | None:
    """The fault of a request that met this reply `met` times before; None: the reply is given."""
    for fault in reply.faults:
        if fault.times == "always" or met < fault.times:
            return fault
        met -= fault.times
    return None


def _in_scene(scene: Scene, conversation: Conversation) -> Choice:
    for index, reply in enumerate(scene.replies):
        if reply.when is not None and fits(reply.when, conversation):
            return Choice(reply, f"{scene.name}[{index}]")
    in_order = [(index, reply) for index, reply in enumerate(scene.replies) if reply.when is None]
    if conversation.turn < len(in_order):
        index, reply = in_order[conversation.turn]
        return Choice(reply, f"{scene.name}[{index}]")
    if scene.otherwise is not None:
        return Choice(scene.otherwise, f"{scene.name}.otherwise")
    raise RequestRefused(
        f"The mock scene {scene.name!r} has {len(in_order)} replies in order and none for turn {conversation.turn}: "
        "add a reply, or `otherwise`."
    )


def _model_fits(pattern: str, model: str) -> bool:
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def _contains(text: str, part: str | None) -> bool:
    return part is None or part in text
