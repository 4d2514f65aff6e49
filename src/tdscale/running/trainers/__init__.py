"""Custom trainers: a command or a function of the user's that trains one run."""
