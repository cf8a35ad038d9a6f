"""Files by location: on a disk or in an object store."""
