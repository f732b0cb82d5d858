"""Tables of any usual notation: encoding, header, roles of columns, numbers, and times."""
