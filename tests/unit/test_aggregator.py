"""The outcome of every thing of a batch for any reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgg.aggregator import Batch, BatchResult, resolve_batch
from asyncgg.classify import CodeTable, ReplyVerdict, classify
from asyncgg.models import Accepted, EntryError, ErrorResponse, NoResponse, Operation, Outcome, Reply, ThingState
from asyncgg.retry_policy import RetryPolicy

PENDING, DONE, FAILED = ThingState.PENDING, ThingState.DISASSOCIATED, ThingState.FAILED
ALREADY = ThingState.ALREADY
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
STRICT = CodeTable(USER_CODES, absent_ok=False)
TABLES = {operation: CodeTable(USER_CODES, operation) for operation in Operation}
POLICY = RetryPolicy(max_attempts=4, max_attempts_unknown=2)


def make_batch(size: int, attempts: int = 0, ambiguous: bool = False) -> Batch:
    """A batch whose things all have the same history; the ids have gaps, as in a second wave."""
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
    """Batches of up to a hundred things with any history that leaves them an attempt."""
    size = draw(st.integers(1, 8) | st.integers(1, 100))
    ids = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    running = [sum(ids[: index + 1]) for index in range(size)]
    things = tuple(f"t{number}" for number in range(size))
    attempts = tuple(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    ambiguous = tuple(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    return Batch(1, CORE, tuple(running), things, attempts, ambiguous)


def replies(batch: Batch) -> st.SearchStrategy[Reply]:
    """Any reply to `batch` that a transport can return; entries can be reported twice."""
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
    """The state of each thing: that of the batch, and the overrides."""
    states = [result.state] * len(batch.ids)
    for deviation in result.overrides:
        states[deviation.index] = deviation.state
    return states


@given(st.data())
def test_resolve_batch_gives_every_thing_one_result(data: st.DataObject) -> None:
    """Each thing is finished, requeued, or in one part; counts and outcomes agree."""
    batch = data.draw(batches())
    reply = data.draw(replies(batch))
    verdict = classify(reply, batch.core, batch.things)
    result = resolve_batch(batch, reply, verdict, TABLE, POLICY)
    states = final_states(batch, result)
    indexes = [deviation.index for deviation in result.overrides]
    assert len(set(indexes)) == len(indexes)
    assert set(states) <= {PENDING, DONE, FAILED, ALREADY}
    requeued = states.count(PENDING)
    if result.split:
        in_parts = [number for low, high, _ in result.split for number in batch.ids if low <= number <= high]
        assert in_parts == list(batch.ids)
        assert [sum(low <= n <= high for n in batch.ids) for low, high, _ in result.split] == [
            count for _, _, count in result.split
        ]
        assert all(count for _, _, count in result.split)
        assert (requeued, result.requeued, result.overrides) == (len(batch.ids), 0, ())
    else:
        assert result.requeued == requeued
    finals = list(result.outcomes(batch))
    assert [(o.thing, o.state) for o in finals] == [
        (thing, state) for thing, state in zip(batch.things, states, strict=True) if state is not PENDING
    ]
    assert all(outcome.core == CORE and outcome.ok == (outcome.state is not FAILED) for outcome in finals)
    assert result.delay >= 0


@given(st.data())
def test_resolve_batch_invariants(data: st.DataObject) -> None:
    """No thing is done without proof or sent beyond its limit, and ambiguity is kept."""
    table = data.draw(st.sampled_from([*TABLES.values(), STRICT]))
    batch = data.draw(batches())
    reply = data.draw(replies(batch))
    verdict = classify(reply, batch.core, batch.things)
    result = resolve_batch(batch, reply, verdict, table, POLICY)
    reported = {error.thing for error in reply.errors} if isinstance(reply, Accepted) else set(batch.things)
    for index, state in enumerate(final_states(batch, result)):
        assert state is not DONE or batch.things[index] not in reported
        if state is ALREADY:
            (code,) = (override.code for override in result.overrides if override.index == index)
            assert table.is_done(code, ambiguous=batch.ambiguous[index])
        if state is PENDING and result.counts_as_attempt:
            assert batch.attempts[index] + 1 < POLICY.max_attempts
    may_be_applied = verdict in {ReplyVerdict.LOST, ReplyVerdict.TRANSIENT}
    assert result.ambiguous == may_be_applied
    if result.skips_core:
        assert verdict in {ReplyVerdict.CORE_MISSING, ReplyVerdict.CORE_DENIED, ReplyVerdict.CORE_INVALID}
        assert result.requeued == 0


def final_outcomes(batch: Batch, reply: Reply, table: CodeTable = TABLE) -> list[Outcome]:
    """The final outcomes of the things of `batch` for `reply`."""
    verdict = classify(reply, batch.core, batch.things)
    return list(resolve_batch(batch, reply, verdict, table, POLICY).outcomes(batch))


def test_resolve_batch_200_without_errors_succeeds() -> None:
    """Every thing succeeds, without a code and with one attempt."""
    assert final_outcomes(make_batch(3), Accepted()) == [Outcome(CORE, f"t{n}", DONE, "", "", 1) for n in range(3)]


NOT_FOUND_STATES = [(TABLE, True, ALREADY), (TABLE, False, ALREADY), (STRICT, True, ALREADY), (STRICT, False, FAILED)]


@pytest.mark.parametrize(("table", "ambiguous", "state"), NOT_FOUND_STATES)
def test_resolve_batch_not_found_is_already_done(table: CodeTable, ambiguous: bool, state: ThingState) -> None:
    """Not found has one outcome whether the thing was sent before or not; strictly, unsent things fail."""
    reply = Accepted((EntryError("t0", "ResourceNotFoundException", "no such thing"),))
    (outcome, _) = final_outcomes(make_batch(2, 1, ambiguous), reply, table)
    assert outcome == Outcome(CORE, "t0", state, "ResourceNotFoundException", "no such thing", 2)


@pytest.mark.parametrize(("table", "ambiguous", "state"), NOT_FOUND_STATES)
def test_resolve_batch_named_thing_requeues_the_others(table: CodeTable, ambiguous: bool, state: ThingState) -> None:
    """An error that names a missing thing decides that one and requeues the others without an
    attempt."""
    batch = make_batch(3, 1, ambiguous)
    reply = ErrorResponse(404, "ResourceNotFoundException", "no thing t1", resource_id="t1")
    result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), table, POLICY)
    assert final_states(batch, result) == [PENDING, state, PENDING]
    assert (result.requeued, result.counts_as_attempt, result.delay) == (2, False, 0.0)


@pytest.mark.parametrize("ambiguous", [True, False])
@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("ResourceNotFoundException", FAILED),
        ("NotAssociated", FAILED),
        ("AlreadyGone", FAILED),
        ("AlreadyAssociated", ALREADY),
        ("ClientDeviceAlreadyAssociatedException", ALREADY),
    ],
)
def test_resolve_batch_associate_missing_is_never_done(ambiguous: bool, code: str, state: ThingState) -> None:
    """When associating, a missing thing fails and an associated one is done; the code is kept."""
    batch = make_batch(2, 1, ambiguous)
    reply = Accepted((EntryError("t0", code, "words"),))
    result = resolve_batch(batch, reply, ReplyVerdict.ACCEPTED, TABLES[Operation.ASSOCIATE], POLICY)
    (outcome, _) = result.outcomes(batch)
    assert outcome == Outcome(CORE, "t0", state, code, "words", 2)


@pytest.mark.parametrize("ambiguous", [True, False])
def test_resolve_batch_associate_named_thing_fails(ambiguous: bool) -> None:
    """An error that names a missing thing fails it, also after a request without a reply."""
    batch = make_batch(3, 1, ambiguous)
    reply = ErrorResponse(404, "ResourceNotFoundException", "no thing t1", resource_id="t1")
    result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLES[Operation.ASSOCIATE], POLICY)
    assert final_states(batch, result) == [PENDING, FAILED, PENDING]


@pytest.mark.parametrize(
    ("code", "tried", "state"),
    [
        ("InternalServerException", 2, PENDING),
        ("InternalServerException", 3, FAILED),
        ("NeverHeardOf", 0, PENDING),
        ("NeverHeardOf", 1, FAILED),
        ("Hopeless", 0, FAILED),
        ("AlreadyGone", 0, ALREADY),
    ],
)
def test_resolve_batch_limits_attempts_by_code(code: str, tried: int, state: ThingState) -> None:
    """Transient codes are retried up to the limit, unknown ones less often, final ones never."""
    batch = make_batch(2, tried)
    reply = Accepted((EntryError("t1", code, "words"),))
    result = resolve_batch(batch, reply, ReplyVerdict.ACCEPTED, TABLE, POLICY)
    assert final_states(batch, result) == [DONE, state]
    assert (result.delay > 0) == (state is PENDING)


@pytest.mark.parametrize(
    "reply", [NoResponse("timeout", "60 s", sent=True), ErrorResponse(500, "InternalServerException", "oops")]
)
def test_resolve_batch_no_reply_requeues_as_ambiguous(reply: Reply) -> None:
    """Things with attempts left become ambiguous; the others fail with the code of the request."""
    batch = Batch(1, CORE, (1, 2), ("a", "b"), (3, 0), (False, False))
    result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
    (outcome,) = result.outcomes(batch)
    assert (outcome.thing, outcome.state, outcome.attempts) == ("a", FAILED, 4)
    assert outcome.code in {"timeout", "InternalServerException"}
    assert (result.requeued, result.ambiguous, result.counts_as_attempt) == (1, True, True)


@pytest.mark.parametrize(
    "reply",
    [
        ErrorResponse(429, "ThrottlingException", "slow down", retry_after=9.0),
        NoResponse("connect", "refused", sent=False),
        ErrorResponse(403, "ExpiredTokenException", "expired"),
        ErrorResponse(403, "InvalidSignatureException", "whose?"),
    ],
)
def test_resolve_batch_throttled_or_unsent_costs_no_attempt(reply: Reply) -> None:
    """Throttled, unsent and unsigned requests cost no attempt and cause no ambiguity."""
    batch = make_batch(3, attempts=3)
    result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
    assert (result.requeued, result.counts_as_attempt, result.ambiguous) == (3, False, False)


@given(size=st.integers(1, 100), bad=st.data())
def test_resolve_batch_bisection_isolates_invalid_entries(size: int, bad: st.DataObject) -> None:
    """Repeated halving isolates the invalid entries in a logarithmic number of requests."""
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
        result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), TABLE, POLICY)
        for low, high, count in result.split:
            part = tuple(i for i in indexes if low <= whole.ids[i] <= high)
            assert len(part) == count
            todo.append(part)
        for outcome in result.outcomes(batch):
            (done if outcome.ok else failed).add(int(outcome.thing[1:]))
    assert failed == wrong
    assert done == set(range(size)) - wrong
    assert requests <= 1 + len(wrong) * 2 * size.bit_length()


@pytest.mark.parametrize(
    ("table", "state"),
    [(CodeTable(missing_cores_ok=True), ALREADY), (CodeTable(), FAILED), (TABLES[Operation.ASSOCIATE], FAILED)],
)
def test_resolve_batch_missing_core_decides_all_its_things(table: CodeTable, state: ThingState) -> None:
    """The things of a missing core fail unless missing cores are accepted; its other things are not sent."""
    batch = make_batch(2)
    reply = ErrorResponse(404, "ResourceNotFoundException", "no", resource_id=CORE, resource_type="CoreDevice")
    result = resolve_batch(batch, reply, classify(reply, CORE, batch.things), table, POLICY)
    assert final_states(batch, result) == [state, state]
    assert result.skips_core
    assert {outcome.code for outcome in result.outcomes(batch)} == {"ResourceNotFoundException"}


def test_resolve_batch_denied_core_fails_in_any_case() -> None:
    """To accept missing cores accepts no denied one."""
    denied = ErrorResponse(403, "AccessDeniedException", "no")
    outcomes = final_outcomes(make_batch(2), denied, CodeTable(missing_cores_ok=True))
    assert [outcome.state for outcome in outcomes] == [FAILED, FAILED]
