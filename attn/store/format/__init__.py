"""What lies in a map store: maps, records and their files."""
