"""The schedule: from the Trace of one step to a Program for a whole sequence."""
