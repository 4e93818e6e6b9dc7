"""A consistent copy of both databases, taken under traffic, and its way back into an empty deployment.

For when no tool of MongoDB's own is at hand. Each collection is a file of BSON documents one after another, as
mongodump writes them; the manifest names them all with their checksums, and is written last. The copy holds
personal data and password hashes: it is readable by its owner alone, and wants to be kept as the database is.
"""

from earlybird.operations.backup.restoring import restore
from earlybird.operations.backup.taking import take_backup

__all__ = ["restore", "take_backup"]
