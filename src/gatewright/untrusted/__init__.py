"""Content from elsewhere: archives, packed data, JSON and names, each kept from costing more than it is worth."""
