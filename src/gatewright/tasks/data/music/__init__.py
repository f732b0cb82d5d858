"""Music as piano rolls, MIDI files and notes."""
