"""`earlybird voucher`: take a voucher from a bot or a second account."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from cyclopts import App, Parameter

from earlybird.cli.deployment import DataDir, actor, deployment, plain_console, print_json, run
from earlybird.cli.named_campaign import find_campaign
from earlybird.errors import Failure, Refusal
from earlybird.text import one_line

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.promotions.withdrawals.model import Wanted, Withdrawal
    from earlybird.settings import Settings

app = App(name="voucher", help="Look after vouchers. People spend theirs themselves.")


@app.command
def withdraw(
    user: Annotated[str, Parameter(help="user name, e-mail address, phone number, or id")],
    *,
    reason: Annotated[str, Parameter(help="why; it is kept for good, so name nobody")],
    replace: Annotated[bool, Parameter(negative="", help="let the next in line have one")] = False,
    campaign: Annotated[str | None, Parameter(help="id or name, of somebody with vouchers of several")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")] = False,
    data_dir: DataDir = None,
) -> None:
    """Take an unspent voucher from a bot or a second account, for good. Its position is given to nobody else.

    The same command again changes nothing; with --replace it makes up for a voucher withdrawn before.
    """
    from earlybird.promotions.withdrawals.model import REASON_CHARACTERS

    try:
        why = one_line(reason, REASON_CHARACTERS)
    except ValueError as error:
        raise Failure(f"--reason: {error}") from None

    async def work(settings: "Settings") -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.infra.valkey import connect_valkey
        from earlybird.promotions import DATABASE
        from earlybird.promotions.vouchers.cache import VoucherCache
        from earlybird.promotions.withdrawals.service import Withdrawals
        from earlybird.promotions.withdrawals.store import WithdrawalStore

        async with connect_mongo(settings, "voucher") as client, connect_valkey(settings, "voucher") as valkey:
            wanted = await _find(client, await _user_id(settings, client, user), campaign)
            cache = VoucherCache(valkey, settings.voucher_cache_seconds, settings.no_voucher_cache_seconds)
            withdrawals = Withdrawals(WithdrawalStore(client[DATABASE]), cache)
            _print(await withdrawals.withdraw(wanted, why, actor(), replace=replace), as_json=as_json)

    run(work(deployment(data_dir)))


async def _user_id(settings: "Settings", client: "Client", user: str) -> UUID:
    """Return whose voucher is meant; an id is one of an account, also of one that was erased."""
    from earlybird.identity import DATABASE
    from earlybird.identity.accounts.administration import AccountStore

    try:
        return (await AccountStore(client[DATABASE], settings.phone_country).find(user)).id
    except Refusal:
        try:
            return UUID(user)
        except ValueError:
            pass
        raise


async def _find(client: "Client", user_id: UUID, campaign: str | None) -> "Wanted":
    """Return the voucher that is meant: the only one, or that of the campaign. Raises Failure."""
    from earlybird.promotions import DATABASE
    from earlybird.promotions.campaigns.store import CampaignStore
    from earlybird.promotions.vouchers.store import VoucherStore
    from earlybird.promotions.withdrawals.model import Wanted

    if campaign is not None:
        record = await find_campaign(CampaignStore(client[DATABASE]), campaign)
        return Wanted(record.campaign.id, user_id)
    found = [one.voucher.campaign_id for one, _ in await VoucherStore(client[DATABASE]).find_vouchers(user_id)]
    if len(found) != 1:
        several = f"this user has vouchers of {len(found)} campaigns: name one with --campaign"
        raise Failure(several if found else "this user has no voucher")
    return Wanted(found[0], user_id)


def _print(withdrawal: "Withdrawal", *, as_json: bool) -> None:
    from earlybird.promotions.withdrawals.shapes import ShownWithdrawal

    if as_json:
        print_json(ShownWithdrawal.of(withdrawal).model_dump(mode="json"))
        return
    then = "there is one more for whoever is next in line" if withdrawal.is_replaced else "it is not replaced"
    plain_console(soft_wrap=True).print(f"The voucher at position {withdrawal.position} is withdrawn; {then}.")
