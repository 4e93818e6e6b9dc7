"""earlybird: the first N customers ever to log in during a campaign get a voucher each.

Two services, one queue between them. `identity` owns accounts, logins and the ledger (the order of first
logins); `promotions` owns campaigns and vouchers. `events` is all they share. The order is MongoDB's own
commit order; the vouchers are a pure function of it, and `audit` recomputes them.
"""
