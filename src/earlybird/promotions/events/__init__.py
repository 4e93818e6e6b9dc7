"""Events: what other systems learn about vouchers."""
