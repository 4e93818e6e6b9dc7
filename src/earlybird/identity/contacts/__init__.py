"""Contacts: that an e-mail address or a phone number is the person's own, before the account counts."""
