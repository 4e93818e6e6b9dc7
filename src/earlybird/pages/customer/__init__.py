"""The customer's page: sign up, log in, see one's place and voucher, and spend it."""
