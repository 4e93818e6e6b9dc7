"""Withdrawals: a voucher is taken from a bot or a second account, and the next in line may get one."""
