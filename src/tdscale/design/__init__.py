"""Which runs next: an adaptive sweep's rounds (`rounds`), what is known so far (`belief`), stage 2 (`data_law`), replays (`replay`)."""
