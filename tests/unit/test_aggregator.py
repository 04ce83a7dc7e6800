"""Rule: every thing of a batch has exactly one fate, whatever the reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.aggregator import Batch, BatchResult, resolve_batch
from asyncgg.classify import CodeTable, ReplyVerdict, classify
from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse, Operation, Outcome, Reply, ThingState
from asyncgg.retry_policy import RetryPolicy

PENDING, DONE, FAILED = ThingState.PENDING, ThingState.DISASSOCIATED, ThingState.FAILED
CORE = "gateway"
CODES = [
    "",
    "ResourceNotFoundException",
    "NotAssociated",
    "InternalServerException",
    "ThrottlingException",
    "AccessDeniedException",
    "ValidationException",
    "NeverHeardOf",
    "AlreadyGone",
    "AlreadyAssociated",
    "Hopeless",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "ConflictException",
]
USER_CODES = {"AlreadyGone": "gone", "Hopeless": "fail"}
TABLE = CodeTable(USER_CODES)
TABLES = {operation: CodeTable(USER_CODES, operation) for operation in Operation}
POLICY = RetryPolicy(max_attempts=4, max_attempts_unknown=2)


def make_batch(size: int, attempts: int = 0, ambiguous: bool = False) -> Batch:
    """A batch whose things have all the same past; the ids have gaps, as in a second wave."""
    return Batch(
        7,
        CORE,
        tuple(range(10, 10 + 3 * size, 3)),
        tuple(f"t{number}" for number in range(size)),
        (attempts,) * size,
        (ambiguous,) * size,
    )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Batches of up to a hundred things with any past that leaves them a try."""
    size = draw(st.integers(1, 8) | st.integers(1, 100))
    ids = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    running = [sum(ids[: index + 1]) for index in range(size)]
    things = tuple(f"t{number}" for number in range(size))
    attempts = tuple(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    ambiguous = tuple(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    return Batch(1, CORE, tuple(running), things, attempts, ambiguous)


def replies(batch: Batch) -> st.SearchStrategy[Reply]:
    """Every reply a transport may give to `batch`; entries may be reported twice."""
    codes, texts = st.sampled_from(CODES), st.sampled_from(["", "because", "de\u0301ja\u0300 vu"])
    accepted = st.builds(
        Accepted, st.lists(st.builds(EntryError, st.sampled_from(batch.things), codes, texts), max_size=30).map(tuple)
    )
    refused = st.builds(
        ErrorResponse,
        st.sampled_from([301, 400, 401, 403, 404, 408, 409, 413, 429, 500, 503]),
        codes,
        texts,
        retry_after=st.none() | st.floats(0, 1000),
        fields=st.sampled_from([(), ("entries",), ("coreDeviceThingName",)]),
        resource_id=st.sampled_from(["", CORE, "stranger", *batch.things]),
    )
    unanswered = st.builds(
        NoResponse, st.sampled_from(["timeout", "reset", "connect", "garbage"]), texts, st.booleans()
    )
    return st.one_of(accepted, refused, unanswered)


def final_states(batch: Batch, result: BatchResult) -> list[ThingState]:
    """Each thing's state, as the journal reads a settlement: the mark, and the deviations over it."""
    states = [result.state] * len(batch.ids)
    for deviation in result.overrides:
        states[deviation.index] = deviation.state
    return states


@given(st.data())
def test_every_thing_has_one_fate(data: st.DataObject) -> None:
    """For any reply each thing is finished, returned, or in one part; the counts and the outcomes say the same."""
    batch = data.draw(batches())
    reply = data.draw(replies(batch))
    verdict = classify(reply, batch.core, batch.things)
    settlement = resolve_batch(batch, reply, verdict, TABLE, POLICY)
    states = final_states(batch, settlement)
    indexes = [deviation.index for deviation in settlement.overrides]
    assert len(set(indexes)) == len(indexes)
    assert set(states) <= {PENDING, DONE, FAILED}
    requeued = states.count(PENDING)
    if settlement.split:
        in_parts = [number for low, high, _ in settlement.split for number in batch.ids if low <= number <= high]
        assert in_parts == list(batch.ids)
        assert [sum(low <= n <= high for n in batch.ids) for low, high, _ in settlement.split] == [
            count for _, _, count in settlement.split
        ]
        assert all(count for _, _, count in settlement.split)
        assert (requeued, settlement.requeued, settlement.overrides) == (len(batch.ids), 0, ())
    else:
        assert settlement.requeued == requeued
    finals = list(settlement.outcomes(batch))
    assert [(o.thing, o.state) for o in finals] == [
        (thing, state) for thing, state in zip(batch.things, states, strict=True) if state is not PENDING
    ]
    assert all(outcome.core == CORE and outcome.ok == (outcome.state is DONE) for outcome in finals)
    assert settlement.delay >= 0


@given(st.data())
def test_promises_of_a_settlement(data: st.DataObject) -> None:
    """Nothing is done without an acceptance or a proof of it, nothing is tried beyond its limit, doubt is kept."""
    operation = data.draw(st.sampled_from(Operation))
    table = TABLES[operation]
    batch = data.draw(batches())
    reply = data.draw(replies(batch))
    verdict = classify(reply, batch.core, batch.things)
    settlement = resolve_batch(batch, reply, verdict, table, POLICY)
    plainly_done = {Operation.DISASSOCIATE: "AlreadyGone", Operation.ASSOCIATE: "AlreadyAssociated"}
    reported = {error.thing for error in reply.errors} if isinstance(reply, Accepted) else set(batch.things)
    for index, state in enumerate(final_states(batch, settlement)):
        if state is DONE and batch.things[index] in reported:
            (code,) = (odd.code for odd in settlement.overrides if odd.index == index)
            assert code == plainly_done[operation] or (batch.ambiguous[index] and table.confirms_done(code))
        if state is PENDING and settlement.counts_as_attempt:
            assert batch.attempts[index] + 1 < POLICY.max_attempts
    may_be_applied = verdict in {ReplyVerdict.LOST, ReplyVerdict.TRANSIENT}
    assert settlement.ambiguous == may_be_applied
    if settlement.skips_core:
        assert verdict in {ReplyVerdict.CORE_MISSING, ReplyVerdict.CORE_DENIED, ReplyVerdict.CORE_INVALID}
        assert settlement.requeued == 0


def final_outcomes(batch: Batch, reply: Reply) -> list[Outcome]:
    """The final outcomes that `reply` gives the things of `batch`."""
    verdict = classify(reply, batch.core, batch.things)
    return list(resolve_batch(batch, reply, verdict, TABLE, POLICY).outcomes(batch))


def test_plain_success() -> None:
    """A 200 without errors is a success of every thing, without a code and with one attempt counted."""
    assert final_outcomes(make_batch(3), Accepted()) == [Outcome(CORE, f"t{n}", DONE, "", "", 1) for n in range(3)]


@pytest.mark.parametrize(("ambiguous", "state"), [(True, DONE), (False, FAILED)])
def test_not_found(ambiguous: bool, state: ThingState) -> None:
    """Not found is a success for a thing that was perhaps disassociated before, else a failure; the code is kept."""
    reply = Accepted((EntryError("t0", "ResourceNotFoundException", "no such thing"),))
    (outcome, _) = final_outcomes(make_batch(2, 1, ambiguous), reply)
    assert outcome == Outcome(CORE, "t0", state, "ResourceNotFoundException", "no such thing", 2)


@pytest.mark.parametrize(("ambiguous", "state"), [(True, DONE), (False, FAILED)])
def test_a_named_thing(ambiguous: bool, state: ThingState) -> None:
    """A refusal that names one missing thing decides that one and sends the others again at once, uncounted."""
    batch = make_batch(3, 1, ambiguous)
    reply = ErrorResponse(404, "ResourceNotFoundException", "no thing t1", resource_id="t1")
    settlement = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
    assert final_states(batch, settlement) == [PENDING, state, PENDING]
    assert (settlement.requeued, settlement.counts_as_attempt, settlement.delay) == (2, False, 0.0)


@pytest.mark.parametrize("ambiguous", [True, False])
@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("ResourceNotFoundException", FAILED),
        ("NotAssociated", FAILED),
        ("AlreadyGone", FAILED),
        ("AlreadyAssociated", DONE),
        ("ClientDeviceAlreadyAssociatedException", DONE),
    ],
)
def test_associating(ambiguous: bool, code: str, state: ThingState) -> None:
    """When associating nothing absent is ever done, not even by the user's own word for disassociation; what is there
    already is done, and its code is kept."""
    batch = make_batch(2, 1, ambiguous)
    reply = Accepted((EntryError("t0", code, "words"),))
    settlement = resolve_batch(batch, reply, ReplyVerdict.ACCEPTED, TABLES[Operation.ASSOCIATE], POLICY)
    (outcome, _) = settlement.outcomes(batch)
    assert outcome == Outcome(CORE, "t0", state, code, "words", 2)


@pytest.mark.parametrize("ambiguous", [True, False])
def test_a_named_thing_when_associating(ambiguous: bool) -> None:
    """A refusal that names a missing thing fails it, also where an earlier request for it got no answer."""
    batch = make_batch(3, 1, ambiguous)
    reply = ErrorResponse(404, "ResourceNotFoundException", "no thing t1", resource_id="t1")
    settlement = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLES[Operation.ASSOCIATE], POLICY)
    assert final_states(batch, settlement) == [PENDING, FAILED, PENDING]


@pytest.mark.parametrize(
    ("code", "tried", "state"),
    [
        ("InternalServerException", 2, PENDING),
        ("InternalServerException", 3, FAILED),
        ("NeverHeardOf", 0, PENDING),
        ("NeverHeardOf", 1, FAILED),
        ("Hopeless", 0, FAILED),
        ("AlreadyGone", 0, DONE),
    ],
)
def test_entry_limits(code: str, tried: int, state: ThingState) -> None:
    """A passing code is retried to the last attempt, an unknown one less often, a final one never."""
    batch = make_batch(2, tried)
    reply = Accepted((EntryError("t1", code, "words"),))
    settlement = resolve_batch(batch, reply, ReplyVerdict.ACCEPTED, TABLE, POLICY)
    assert final_states(batch, settlement) == [DONE, state]
    assert (settlement.delay > 0) == (state is PENDING)


@pytest.mark.parametrize(
    "reply", [NoResponse("timeout", "60 s", sent=True), ErrorResponse(500, "InternalServerException", "oops")]
)
def test_requests_in_vain(reply: Reply) -> None:
    """Without an answer the things with a try left go back in doubt, the others fail with the request's words."""
    batch = Batch(1, CORE, (1, 2), ("a", "b"), (3, 0), (False, False))
    settlement = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
    (outcome,) = settlement.outcomes(batch)
    assert (outcome.thing, outcome.state, outcome.attempts) == ("a", FAILED, 4)
    assert outcome.code in {"timeout", "InternalServerException"}
    assert (settlement.requeued, settlement.ambiguous, settlement.counts_as_attempt) == (1, True, True)


@pytest.mark.parametrize(
    "reply",
    [
        ErrorResponse(429, "ThrottlingException", "slow down", retry_after=9.0),
        NoResponse("connect", "refused", sent=False),
        ErrorResponse(403, "ExpiredTokenException", "expired"),
        ErrorResponse(403, "InvalidSignatureException", "whose?"),
    ],
)
def test_no_fault_of_the_things(reply: Reply) -> None:
    """Throttled, unsent and unsigned requests cost their things no attempt, even the last one, and leave no doubt."""
    batch = make_batch(3, attempts=3)
    settlement = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
    assert (settlement.requeued, settlement.counts_as_attempt, settlement.ambiguous) == (3, False, False)
    if isinstance(reply, ErrorResponse) and reply.retry_after:
        assert settlement.delay == 9.0


@given(size=st.integers(1, 100), bad=st.data())
def test_bisection_finds_the_bad_ones(size: int, bad: st.DataObject) -> None:
    """Halving again and again isolates exactly the invalid entries, in a number of requests logarithmic for each."""
    wrong = bad.draw(st.sets(st.integers(0, size - 1), max_size=4))
    whole = make_batch(size)
    todo, requests = [tuple(range(size))], 0
    failed: set[int] = set()
    done: set[int] = set()
    while todo:
        indexes = todo.pop()
        requests += 1
        ids, things = tuple(whole.ids[i] for i in indexes), tuple(whole.things[i] for i in indexes)
        batch = Batch(requests, CORE, ids, things, (0,) * len(indexes), (False,) * len(indexes))
        invalid = wrong.intersection(indexes)
        reply = ErrorResponse(400, "ValidationException", "bad name") if invalid else Accepted()
        settlement = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
        for low, high, count in settlement.split:
            part = tuple(i for i in indexes if low <= whole.ids[i] <= high)
            assert len(part) == count
            todo.append(part)
        for outcome in settlement.outcomes(batch):
            (done if outcome.ok else failed).add(int(outcome.thing[1:]))
    assert failed == wrong
    assert done == set(range(size)) - wrong
    assert requests <= 1 + len(wrong) * 2 * size.bit_length()


def test_what_was_listed_and_is_missing_has_gone() -> None:
    """An association that had been listed is done when it, its thing or its core is not there, never when denied."""
    listed = CodeTable(associations_verified=True)

    def states(reply: Reply) -> list[ThingState]:
        batch = make_batch(2)
        verdict = classify(reply, batch.core, batch.things)
        return [outcome.state for outcome in resolve_batch(batch, reply, verdict, listed, POLICY).outcomes(batch)]

    assert states(Accepted((EntryError("t0", "ThingNotFoundException", "no"),))) == [DONE, DONE]
    assert states(Accepted((EntryError("t0", "AccessDenied", "no"),))) == [FAILED, DONE]
    missing = ErrorResponse(404, "ResourceNotFoundException", "no", resource_id=CORE, resource_type="CoreDevice")
    assert states(missing) == [DONE, DONE]
    assert states(ErrorResponse(403, "AccessDeniedException", "no")) == [FAILED, FAILED]
    assert states(ErrorResponse(404, "ResourceNotFoundException", "no", resource_id="t1", resource_type="Thing")) == [
        DONE
    ]
    reassociating = CodeTable(operation=Operation.ASSOCIATE, associations_verified=True)
    batch = make_batch(1)
    reply = Accepted((EntryError("t0", "ThingNotFoundException", "no"),))
    (outcome,) = resolve_batch(batch, reply, ReplyVerdict.ACCEPTED, reassociating, POLICY).outcomes(batch)
    assert outcome.state is FAILED
