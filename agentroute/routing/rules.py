"""The rule pre-filter: decides what is certain, says nothing otherwise."""

from __future__ import annotations

from agentroute.decisions import Prediction, StepKind, Task

from .step import Step

__all__ = ["certain"]

_GREETINGS = frozenset(
    "hi hello hey thanks thank you good morning evening ok okay great bye goodbye yes please cool perfect ciao hola "
    "gracias hallo danke tschüss guten morgen tag abend bonjour merci salut obrigado olá grazie buongiorno hej tack "
    "привет спасибо пока здравствуйте 你好 谢谢 谢谢你 再见 こんにちは ありがとう おはよう 안녕 안녕하세요 감사합니다 "
    "مرحبا شكرا नमस्ते धन्यवाद शुक्रिया".split()
)
"""Words of greeting and thanks. An ask made of nothing else needs no model in particular."""


def certain(step: Step) -> Prediction | None:
    """A prediction where the step leaves no doubt, else None."""
    if step.kind is StepKind.HOUSEKEEPING:
        return Prediction(
            sufficiency=(0.97, 0.975, 0.978, 0.98),
            task=Task.CHAT,
            step_kind=step.kind,
            confidence=0.9,
            reasons=("a side call of the client, on which nothing depends",),
        )
    if step.kind is StepKind.SUMMARISE:
        # The floor of a summary: whatever follows knows the conversation by it alone.
        return Prediction(
            sufficiency=(0.3, 0.55, 0.93, 0.97),
            task=Task.SUMMARISATION,
            step_kind=step.kind,
            confidence=0.5,
            reasons=("the conversation goes on from this summary: a bad one spoils it",),
        )
    if step.kind is not StepKind.FIRST_ASK or not 0 < step.ask_chars <= 40 or step.steps_in_turn:
        return None
    if step.needs_vision or step.needs_documents or step.needs_audio:
        return None
    words = step.ask.lower().translate(_PUNCTUATION).split()
    if words and len(words) <= 5 and all(word in _GREETINGS for word in words):
        return Prediction(
            sufficiency=(0.99, 0.995, 0.995, 0.995),
            task=Task.CHAT,
            step_kind=step.kind,
            confidence=0.95,
            reasons=("a greeting or thanks, nothing else is asked",),
        )
    return None


_PUNCTUATION = str.maketrans(dict.fromkeys("!?¡¿.,;:…。！？、，~*'\"()", " "))
