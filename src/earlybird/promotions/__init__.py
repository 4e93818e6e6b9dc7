"""promotions owns campaigns and vouchers: who is rewarded, as a pure function of the order of first logins."""

DATABASE = "promotions"  # where it keeps everything
