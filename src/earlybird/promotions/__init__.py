"""promotions owns campaigns and vouchers: who is rewarded, as a pure function of the order of first logins."""
