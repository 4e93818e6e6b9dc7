"""Reserve, confirm, release, expiry, refund, withdrawal, retries and races in every order, on the real database.

A state machine makes the moves and knows what must come of each; after every move the voucher, its redemptions and
the events agree, and in the end the voucher is never stuck. Time is the machine's own. Mutants of the store, each
with one rule taken away, must be caught.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from people import a_voucher
from pymongo.errors import PyMongoError
from uuid_utils.compat import uuid7

from earlybird.errors import InvariantBroken, Refusal
from earlybird.infra.mongo import Client, Document, connect_mongo
from earlybird.operations.audit.findings import Proof
from earlybird.operations.audit.redemptions import RedemptionAudit
from earlybird.promotions.app import migrate_promotions
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.records import CampaignRecord, terms_of
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.redemptions import model as rules
from earlybird.promotions.redemptions.idempotency import IdempotencyKeys
from earlybird.promotions.redemptions.model import Order, Redemption, RedemptionEvent, RedemptionState
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.vouchers.model import Voucher, VoucherState
from earlybird.promotions.withdrawals import model as withdrawal_rules
from earlybird.promotions.withdrawals.model import VoucherEvent, Wanted, Withdrawal
from earlybird.promotions.withdrawals.store import WithdrawalStore
from earlybird.settings import Settings

RUNS = int(os.environ.get("REDEMPTION_MACHINE_RUNS", "40"))
STEPS = 25
OPENED = datetime(2026, 11, 1, tzinfo=UTC)
START = datetime(2100, 11, 1, tzinfo=UTC)  # MongoDB deletes old keys by its own clock: not these
ORDER = Order("topup-1", 100_000, "VND")
MOVES = ["spend", "reserve", "confirm", "release", "refund"]
OF_STAFF = ["withdraw", "replace", "raise"]
PICKS = st.integers(0, 9)
Outcome = Redemption | Withdrawal | CampaignRecord | str  # what came of it, or the code of the refusal
Move = partial[Coroutine[Any, Any, Any]]
Request = tuple[Move, Outcome]


@dataclass
class Bank:
    """The store under test, a clock to turn, and a loop to run it in."""

    runner: asyncio.Runner
    client: Client
    now: datetime = START
    steps: int = 0
    store: RedemptionStore = field(init=False)
    withdrawals: WithdrawalStore = field(init=False)
    campaigns: CampaignStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = RedemptionStore(self.client["promotions"], self._clock)
        self.withdrawals = WithdrawalStore(self.client["promotions"], self._clock)
        self.campaigns = CampaignStore(self.client["promotions"])

    async def _clock(self) -> datetime:
        return self.now

    def do(self, *moves: Move) -> list[Outcome]:
        """Make these moves at once; give what came of each."""

        async def one(move: Move) -> Outcome:
            try:
                outcome: Outcome = await move()
            except Refusal as refusal:
                return refusal.code
            return outcome

        async def all_of_them() -> list[Outcome]:
            return await asyncio.gather(*map(one, moves))

        return self.runner.run(all_of_them())

    def read(self, collection: str, query: Document) -> list[Document]:
        return self.runner.run(self.client["promotions"][collection].find(query).to_list())

    def look(self, voucher: UUID, campaign: UUID) -> tuple[Document, Document, list[Document], list[Document]]:
        """Read a voucher, its campaign, its redemptions, and what was told of anything, in one round trip."""
        promotions = self.client["promotions"]

        async def read() -> tuple[Any, Any, list[Document], list[Document]]:
            return await asyncio.gather(
                promotions["vouchers"].find_one({"_id": voucher}),
                promotions["campaigns"].find_one({"_id": campaign}),
                promotions["redemptions"].find({"voucher_id": voucher}).to_list(),
                promotions["outbox"].find().to_list(),
            )

        return self.runner.run(read())

    def give_voucher(self) -> Voucher:
        """Give somebody new the only voucher of a campaign that is over, for 30 days."""
        voucher = a_voucher(uuid7())
        campaign = terms_of(
            Campaign(voucher.campaign_id, "Over", 30, 1, "30 % off", 30, 1, OPENED, OPENED + timedelta(days=1))
        )
        campaign |= {"_id": campaign.pop("id"), "remaining_promotion": 0, "is_available": 0}
        campaigns = self.client["promotions"]["campaigns"]
        self.runner.run(campaigns.insert_one(campaign | {"created_at": OPENED, "updated_at": OPENED}))
        document = {name: getattr(voucher, name) for name in voucher.__slots__ if name != "id"}
        document |= {"_id": voucher.id, "is_available": 1, "expire_at": self.now + timedelta(days=30)}
        vouchers = self.client["promotions"]["vouchers"]
        self.runner.run(vouchers.insert_one(document | {"created_at": self.now, "updated_at": self.now}))
        return voucher


class Spending(RuleBasedStateMachine):
    """One customer, one voucher, and everything that its owner can do with it.

    What may be done next never depends on how a race ended, or hypothesis could not go the same way twice.
    """

    bank: ClassVar[Bank]
    requests = Bundle("requests")  # what was asked for under a new key, and what came of it

    def __init__(self) -> None:
        super().__init__()
        self.keys = 0
        self.begin()

    def begin(self) -> None:
        given = self.bank.give_voucher()
        self.user, self.voucher, self.campaign = given.user_id, given.id, given.campaign_id
        self.number, self.withdrawn, self.replaced = 1, False, False
        self.expires = self.bank.now + timedelta(days=30)
        self.known: dict[UUID, Redemption] = {}

    # What the model expects: deliberately simpler than the code.

    def spent_by(self) -> UUID | None:
        return next((r.id for r in self.known.values() if r.state is RedemptionState.REDEEMED), None)

    def held_by(self) -> UUID | None:
        return next((r.id for r in self.known.values() if self.holds(r)), None)

    def holds(self, redemption: Redemption) -> bool:
        until = redemption.reserved_until
        return redemption.state is RedemptionState.RESERVED and until is not None and self.bank.now < until

    def why_not(self) -> str | None:
        """Say why the voucher cannot be spent now."""
        if self.withdrawn:
            return "voucher_withdrawn"
        if self.spent_by():
            return "voucher_already_redeemed"
        if self.held_by():
            return "voucher_reserved"
        return "voucher_expired" if self.bank.now >= self.expires else None

    def note(self, outcome: Outcome) -> None:
        if isinstance(outcome, Redemption):
            self.known[outcome.id] = outcome

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def ask(self, key: str, *, reserve: bool) -> Move:
        return partial(self.bank.store.spend, self.user, key, ORDER, reserve=reserve)

    def step(self, event: RedemptionEvent, attempt: UUID) -> Move:
        return partial(self.bank.store.settle, attempt, event, self.user, owner=self.user)

    def withdrawal(self, *, replace: bool) -> Move:
        wanted = Wanted(self.campaign, self.user)
        return partial(self.bank.withdrawals.withdraw, wanted, "a bot", "test", replace=replace)

    def raise_(self) -> Move:
        return partial(self.bank.campaigns.edit, self.campaign, {"number_of_promotion": self.number + 1}, "test")

    # The moves.

    @rule(target=requests)
    def redeem(self) -> Request:
        return self.ask_anew(reserve=False)

    @rule(target=requests)
    def reserve(self) -> Request:
        return self.ask_anew(reserve=True)

    def ask_anew(self, *, reserve: bool) -> Request:
        expected, move = self.why_not(), self.ask(self.new_key(), reserve=reserve)
        [outcome] = self.bank.do(move)
        self.note(outcome)
        if expected is None:
            assert isinstance(outcome, Redemption), outcome
            assert outcome.state == ("reserved" if reserve else "redeemed")
        else:
            assert outcome == expected
        return move, outcome

    @rule(request=requests)
    def retry(self, request: Request) -> None:
        move, outcome = request
        assert self.bank.do(move) == [outcome], "a retry gets the first answer"

    @rule(request=requests, other=st.sampled_from(["order_id", "amount", "currency", "reserve"]))
    def reuse_a_key(self, request: Request, other: str) -> None:
        move, _ = request
        user, key, order = move.args
        changes: dict[str, Any] = {"order_id": "topup-2", "amount": 100_001, "currency": "EUR"}
        reserve = move.keywords["reserve"] is not (other == "reserve")
        order = order if other == "reserve" else replace(order, **{other: changes[other]})
        again = partial(self.bank.store.spend, user, key, order, reserve=reserve)
        assert self.bank.do(again) == ["idempotency_key_reused"]

    def one_of_mine(self, pick: int) -> UUID:
        return sorted(self.known)[pick % len(self.known)]

    @precondition(lambda self: self.known)
    @rule(pick=PICKS)
    def confirm(self, pick: int) -> None:
        attempt = self.one_of_mine(pick)
        old = self.known[attempt]
        [outcome] = self.bank.do(self.step(RedemptionEvent.CONFIRM, attempt))
        self.note(outcome)
        match old.state:
            case RedemptionState.REDEEMED:
                assert outcome == old
            case RedemptionState.RELEASED:
                assert outcome == "reservation_released"
            case RedemptionState.REFUNDED:
                assert outcome == "redemption_refunded"
            case RedemptionState.WITHDRAWN:
                assert outcome == "voucher_withdrawn"
            case RedemptionState.RESERVED if self.holds(old):
                assert isinstance(outcome, Redemption)
                assert outcome.state is RedemptionState.REDEEMED
            case _:
                assert outcome == "reservation_expired"

    @precondition(lambda self: self.known)
    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        attempt = self.one_of_mine(pick)
        old = self.known[attempt]
        [outcome] = self.bank.do(self.step(RedemptionEvent.RELEASE, attempt))
        self.note(outcome)
        if old.state in {RedemptionState.REDEEMED, RedemptionState.REFUNDED}:
            assert outcome == "reservation_confirmed"
        elif old.state is RedemptionState.WITHDRAWN:
            assert outcome == "voucher_withdrawn"
        else:
            assert isinstance(outcome, Redemption)
            assert outcome.state is RedemptionState.RELEASED

    @precondition(lambda self: self.known)
    @rule(pick=PICKS)
    def refund(self, pick: int) -> None:
        attempt = self.one_of_mine(pick)
        old = self.known[attempt]
        [outcome] = self.bank.do(self.step(RedemptionEvent.REFUND, attempt))
        self.note(outcome)
        if old.state in {RedemptionState.REDEEMED, RedemptionState.REFUNDED}:
            assert isinstance(outcome, Redemption)
            assert outcome.state is RedemptionState.REFUNDED
        else:
            assert outcome == "redemption_not_found"

    @rule(minutes=st.sampled_from([1, 14, 15, 16, 60]))
    def let_time_pass(self, minutes: int) -> None:
        self.bank.now += timedelta(minutes=minutes)

    @rule(and_take=st.sampled_from(["nothing", "redeem", "reserve"]))
    def outlive_a_hold(self, and_take: str) -> None:
        """Let a hold made just now lapse, to the millisecond; somebody may be quick to spend the voucher."""
        self.bank.now += timedelta(minutes=15)
        if and_take != "nothing":
            self.ask_anew(reserve=and_take == "reserve")

    @precondition(lambda self: self.known)
    @rule()
    def let_the_voucher_expire(self) -> None:
        self.bank.now = max(self.bank.now, self.expires - timedelta(minutes=1))

    @precondition(lambda self: self.bank.now >= self.expires)
    @rule()
    def win_another(self) -> None:
        self.is_not_stuck()
        self.begin()

    @precondition(lambda self: self.known)
    @rule(pick=PICKS, chosen=st.lists(st.sampled_from(MOVES), min_size=2, max_size=5))
    def race(self, pick: int, chosen: list[str]) -> None:
        """Make several moves at once; whatever their order was, the invariants hold."""
        self.make_at_once(pick, chosen, {})

    def make_at_once(self, pick: int, chosen: list[str], others: dict[str, Move]) -> None:
        attempt = self.one_of_mine(pick)
        steps = (RedemptionEvent.CONFIRM, RedemptionEvent.RELEASE, RedemptionEvent.REFUND)
        moves: dict[str, Move] = {step.value: self.step(step, attempt) for step in steps} | others
        made = [moves.get(name) or self.ask(self.new_key(), reserve=name == "reserve") for name in chosen]
        for outcome in self.bank.do(*made):
            assert isinstance(outcome, (Redemption, Withdrawal, CampaignRecord, str))
        for document in self.bank.read("redemptions", {"user_id": self.user}):
            self.note(rules_of(document))

    # What always holds.

    @invariant()
    def everything_agrees(self) -> None:
        self.bank.steps += 1
        voucher, campaign, redemptions, told = self.bank.look(self.voucher, self.campaign)
        self.voucher_and_redemptions_agree(
            voucher, {document["_id"]: rules_of(document) for document in redemptions}
        )
        self.a_replacement_is_one_position_more(campaign)
        self.everything_is_told_once(
            {event["_id"] for event in told if str(self.voucher) in str(event["payload"])}
        )

    def voucher_and_redemptions_agree(self, voucher: Document, stored: dict[UUID, Redemption]) -> None:
        assert stored == self.known, "what was answered is what is stored"
        spent = [r for r in stored.values() if r.state is RedemptionState.REDEEMED]
        assert len(spent) <= 1, "spent twice"
        assert voucher["is_available"] == 1 - len(spent) - self.withdrawn, "spent, withdrawn, or neither"
        assert self.withdrawn == ("withdrawn_at" in voucher)
        assert len([r for r in stored.values() if self.holds(r)]) <= 1, "held twice"
        if self.held_by():
            assert voucher["held_by"] == self.held_by()
        if self.withdrawn:
            assert voucher["held_by"] is voucher["held_until"] is None
        for redemption in stored.values():
            assert (redemption.discount_amount, redemption.payable_amount) == (30_000, 70_000)

    def a_replacement_is_one_position_more(self, campaign: Document) -> None:
        assert campaign["number_of_promotion"] == self.number
        assert campaign["remaining_promotion"] == self.number + self.replaced - 1
        assert [step["replaces"] for step in campaign["raises"] if "replaces" in step] == [1] * self.replaced

    def everything_is_told_once(self, told: set[str]) -> None:
        withdrawn = {event_id for event_id in told if event_id.endswith("withdrawn")}
        assert len(withdrawn) == self.withdrawn
        redeemed = {f"{r.id}.redeemed" for r in self.known.values() if r.redeemed_at}
        refunded = {f"{r.id}.refunded" for r in self.known.values() if r.refunded_at}
        assert told - withdrawn == redeemed | refunded

    def is_not_stuck(self) -> None:
        """Sooner or later the voucher can be spent, unless it has expired or was withdrawn."""
        self.bank.now += timedelta(minutes=15)
        spent = self.spent_by()
        if spent is not None:
            [outcome] = self.bank.do(self.step(RedemptionEvent.REFUND, spent))
            self.note(outcome)
        [outcome] = self.bank.do(self.ask("at-last", reserve=False))
        assert isinstance(outcome, Redemption) == (self.bank.now < self.expires and not self.withdrawn), outcome

    def teardown(self) -> None:
        self.is_not_stuck()
        self.bank.runner.run(self.bank.client["promotions"]["outbox"].delete_many({}))


class Withdrawing(Spending):
    """What those who run the campaign can do, besides. Apart, for little can be done with a withdrawn voucher."""

    @rule(replace_it=st.booleans(), while_held=st.booleans())
    def withdraw(self, replace_it: bool, while_held: bool) -> None:
        if while_held:
            self.ask_anew(reserve=True)
        held, spent = self.held_by(), self.spent_by()
        [outcome] = self.bank.do(self.withdrawal(replace=replace_it))
        if spent:
            assert outcome == "voucher_already_redeemed"
            return
        self.withdrawn, self.replaced = True, self.replaced or replace_it
        assert isinstance(outcome, Withdrawal), outcome
        assert outcome.is_replaced == self.replaced
        if held:
            self.known[held] = replace(self.known[held], state=RedemptionState.WITHDRAWN)

    @rule()
    def raise_number(self) -> None:
        [outcome] = self.bank.do(self.raise_())
        assert isinstance(outcome, CampaignRecord), outcome
        self.number += 1

    @precondition(lambda self: self.known)
    @rule(pick=PICKS, chosen=st.lists(st.sampled_from([*MOVES, *OF_STAFF]), min_size=1, max_size=4))
    def race_a_withdrawal(self, pick: int, chosen: list[str]) -> None:
        """Make several moves at once, one of them a withdrawal."""
        others = {"withdraw": self.withdrawal(replace=False), "replace": self.withdrawal(replace=True)}
        self.make_at_once(pick, ["withdraw", *chosen], {**others, "raise": self.raise_()})
        [voucher] = self.bank.read("vouchers", {"_id": self.voucher})
        [campaign] = self.bank.read("campaigns", {"_id": self.campaign})
        assert self.withdrawn <= ("withdrawn_at" in voucher), "withdrawn is for good"
        self.withdrawn, self.number = "withdrawn_at" in voucher, campaign["number_of_promotion"]
        self.replaced = any("replaces" in step for step in campaign["raises"])

    @rule()
    def win_in_another_campaign(self) -> None:
        self.is_not_stuck()
        self.begin()


def rules_of(document: Document) -> Redemption:
    """Read a stored redemption by its plain fields."""
    fields = {name: document[name] for name in Redemption.__slots__ if name not in {"id", "state"}}
    return Redemption(id=document["_id"], state=RedemptionState(document["state"]), **fields)


@pytest.fixture
def bank(settings: Settings) -> Iterator[Bank]:
    """A bank on an empty database, with a loop of its own: hypothesis is not asynchronous."""
    with asyncio.Runner() as runner:
        context = connect_mongo(settings, "test")
        client = runner.run(context.__aenter__())
        try:
            for collection in runner.run(client["promotions"].list_collection_names()):
                runner.run(client["promotions"][collection].delete_many({}))
            runner.run(migrate_promotions(settings))
            yield Bank(runner, client)
        finally:
            runner.run(context.__aexit__(None, None, None))


def explore(bank: Bank, runs: int, moves: type[Spending] = Spending, *, derandomize: bool = False) -> None:
    machine = type(moves.__name__, (moves,), {"bank": bank})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            derandomize=derandomize,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(900)
def test_a_voucher_is_spent_once_at_most_and_never_stuck(bank: Bank) -> None:
    explore(bank, RUNS, Withdrawing)
    sys.stdout.write(f"{RUNS} runs, {bank.steps} steps\n")  # pytest -rP shows it
    assert bank.steps > RUNS, "the machine moved"
    proofs = bank.runner.run(audit(bank.client))
    assert [proof.subject for proof in proofs] == ["redemptions"]


async def audit(client: Client) -> list[Proof]:
    """Audit the redemptions, but not the log: the machine hands out the vouchers itself."""
    async with client.start_session(snapshot=True) as session:
        proofs: list[Proof] = []
        await RedemptionAudit(client, session).check_redemptions(proofs.append)
        return proofs


def never_lapses(redemption: Redemption, _: datetime) -> RedemptionState:
    return redemption.state


async def forgets(*_: object) -> None:
    return None


def turns_any_voucher(original: Any) -> Any:
    async def turn(self: RedemptionStore, session: Any, new: Redemption, expected: Document, now: datetime) -> Any:
        return await original(self, session, new, {} if "held_by" in expected else expected, now)

    return turn


def with_rows(*rows: tuple[RedemptionState, RedemptionEvent, RedemptionState]) -> Any:
    """Return the table of a redemption's life with these rows in place of its own."""
    return {**rules.LIFE, **{(state, event): after for state, event, after in rows}}


async def takes_nothing(_: WithdrawalStore, __: Any, before: Document, taken: Document) -> Document:
    return {**before, **taken}


S, E = RedemptionState, RedemptionEvent
MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "a reservation never lapses": (Redemption, "state_at", never_lapses),
    "a key is forgotten": (IdempotencyKeys, "claim", forgets),
    "a key knows its order number alone": (
        rules,
        "fingerprint",
        lambda order, *, reserve: f"{order.order_id} {reserve}".encode(),
    ),
    "whose hold it is does not matter": (
        RedemptionStore,
        "_turn_voucher",
        turns_any_voucher(RedemptionStore._turn_voucher),
    ),
    "a release releases nothing": (rules, "LIFE", with_rows((S.RESERVED, E.RELEASE, S.RESERVED))),
    "a refund refunds anything": (
        rules,
        "LIFE",
        with_rows((S.RESERVED, E.REFUND, S.RELEASED), (S.LAPSED, E.REFUND, S.RELEASED)),
    ),
    "a reservation that lapsed is confirmed": (rules, "LIFE", with_rows((S.LAPSED, E.CONFIRM, S.REDEEMED))),
    "what was refunded is refunded again": (rules, "LIFE", with_rows((S.RELEASED, E.REFUND, S.REFUNDED))),
}
OF_WITHDRAWAL: dict[str, tuple[Any, str, Any]] = {
    "what was withdrawn can be spent": (WithdrawalStore, "_take", takes_nothing),
    "a hold outlives its voucher": (rules, "LIFE", with_rows((S.RESERVED, E.WITHDRAW, S.RESERVED))),
    "what is spent is withdrawn": (
        withdrawal_rules,
        "LIFE",
        {**withdrawal_rules.LIFE, (VoucherState.REDEEMED, VoucherEvent.WITHDRAW): VoucherState.WITHDRAWN},
    ),
    "a withdrawn voucher is replaced again and again": (Campaign, "replaces", lambda *_: False),
}


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(one, marks=[pytest.mark.slow] if "laps" in one else [])  # which must be waited for
        for one in (*MUTANTS, *OF_WITHDRAWAL)
    ],
)
def test_the_machine_catches_a_store_in_which(mutant: str, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement = {**MUTANTS, **OF_WITHDRAWAL}[mutant]
    monkeypatch.setattr(owner, name, replacement)
    moves = Withdrawing if mutant in OF_WITHDRAWAL else Spending
    with pytest.raises((AssertionError, InvariantBroken, PyMongoError, Flaky)):
        explore(bank, 1000, moves, derandomize=True)  # each is caught within some hundred, most within ten
