"""Whoever is asked asks the agent something first. The clock runs on; only an answer to the step stops it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals import notifying
from approvals.locks import lock_request
from approvals.models import ActionRequest, Question
from approvals.services import decide
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, bulk, wording
from governance.errors import NotFound, NotNow, Unprocessable
from governance.models import Agent, Person

QUESTION_LENGTH, ANSWER_LENGTH = 1000, 4000
OPEN_AT_ONCE = 3  # on one step, whoever asked them


@transaction.atomic
def ask_agent(*, ref: str, actor: Person, text: str, now: datetime) -> Question:
    """Put a question to the agent that asks, from the step that waits on `actor`.

    The agent is told by its webhook, under the next number, and reads it with the
    request. It stops no clock.

    Raises:
        AlreadyDecided, TooLate, NotYours: as for a decision.
        NotNow: as many questions as may be open on one step are.
        Unprocessable: no text, or too much.
    """
    text = _checked(text, QUESTION_LENGTH, "A question")
    request = lock_request(ref)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.person(actor), now=now)
    step = decide.step_of(climb, actor, now)
    if Question.objects.filter(step=step, answered_at__isnull=True).count() >= OPEN_AT_ONCE:
        raise NotNow(
            f"{wording.plural(OPEN_AT_ONCE, 'question')} wait for the agent's answer already. "
            "Yours was not asked; you are still asked to decide."
        )
    question = Question.objects.create(
        step=step, request=request, person=actor, text=text, asked_at=now
    )
    climb.act.record(
        request, "question.asked", question=question.pk, path=step.path, level=step.level, text=text
    )
    request.state_seq += 1  # it numbers whatever the agent is told, so that nothing overtakes
    notifying.question_asked(writes, request, question, now=now)
    climb.settle()
    bulk.save_alike(ActionRequest, [request], ["state_seq"])
    writes.save()
    return question


@transaction.atomic
def answer_question(
    *, ref: str, question: int, agent: Agent, text: str, now: datetime
) -> ActionRequest:
    """Answer a question that was put to `agent` about its own request, once, while that is open.

    The same answer again changes nothing. Whoever asked is told.

    Raises:
        NotFound: the agent has no such request, or nobody asked this about it.
        NotNow: the request has ended, or it was answered otherwise.
        Unprocessable: no text, or too much.
    """
    text = _checked(text, ANSWER_LENGTH, "An answer")
    request = lock_request(ref)
    if request.agent_id != agent.pk:
        raise NotFound(f"There is no request {ref[:20]}.")
    found = Question.objects.filter(pk=question, request=request).first()
    if found is None:
        raise NotFound(f"Nobody asked question {question} about {request.ref}.")
    if found.answered_at is not None and found.answer == text:
        return request
    if found.answered_at is not None:
        raise NotNow("This question was answered before, and the first answer stands.")
    if not request.is_open:
        raise NotNow(
            f"{request.ref} is {request.get_state_display().lower()}: nobody waits for the answer any more."
        )
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.agent(agent), now=now)
    found.answer, found.answered_at = text, now
    found.save(update_fields=["answer", "answered_at"])
    climb.act.record(request, "question.answered", question=found.pk, answer=text)
    notifying.told(writes, [found.person_id], request, climb.people, what="answered", now=now)
    climb.settle()
    writes.save()
    return request


def _checked(text: str, length: int, what: str) -> str:
    text = text.strip()
    if not text:
        raise Unprocessable(f"{what} has some text.")
    if len(text) > length:
        raise Unprocessable(f"{what} has at most {length} characters.")
    if "\0" in text:
        raise Unprocessable(f"{what} is plain text, without NUL.")
    return text
