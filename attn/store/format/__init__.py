"""The file format of a map store: rows of maps, and the records that describe them."""
